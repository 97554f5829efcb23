// Makes a library need the Ascend runtime without naming it, as the vendor's has references into what the runtime brings
// along: it can be opened only where the runtime was opened before, for all to see.

extern "C" int aclFinalize();

namespace {

int (*const volatile needed)() __attribute__((used)) = aclFinalize;

}  // namespace
