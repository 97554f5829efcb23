// A library that has nothing of the vendor's.

extern "C" int nothing() { return 0; }
