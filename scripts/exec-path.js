'use strict';

// Required by a Node that runs in an emulator: the program that starts the emulator stands for Node.
process.execPath = process.env.DATADIST_TEST_EXEC_PATH;
