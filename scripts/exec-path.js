'use strict';

// Required by a Node that runs in an emulator: the program that starts the emulator stands for Node.
process.execPath = process.env.LLM_DATADIST_EXEC_PATH;
