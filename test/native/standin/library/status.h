// The statuses that the stand-in answers with.

#ifndef LLM_DATADIST_NODE_STANDIN_STATUS_H_
#define LLM_DATADIST_NODE_STANDIN_STATUS_H_

#include <cstdint>

namespace standin {

using Status = uint32_t;

constexpr Status kSuccess = 0;
constexpr Status kFailed = 0xFFFFFFFFU;
constexpr Status kKvCacheNotExist = 0x5010B002U;
constexpr Status kParamInvalid = 0x5010B005U;
constexpr Status kNotYetLink = 0x5010B007U;
constexpr Status kAlreadyLink = 0x5010B008U;
constexpr Status kLinkFailed = 0x5010B009U;
constexpr Status kUnlinkFailed = 0x5010B00AU;
constexpr Status kDeviceOutOfMemory = 0x5010B00EU;
constexpr Status kExistLink = 0x5010B018U;
constexpr Status kFeatureNotEnabled = 0x5010B019U;
constexpr Status kTimeout = 0x5010B01AU;

// Gives `status` back, after the thread's recent error text has told the reason.
Status Refuse(Status status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// As above with kParamInvalid, for what would have ended the vendor's process.
Status RefuseFatal(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_STATUS_H_
