'use strict';

require('../../fixtures/vm-timeouts-program');
