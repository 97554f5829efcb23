/** Of this package, as in package.json: that file is not there in a bundled program. */
export const VERSION = '0.1.0';
