/**
 * What a cluster does with a request. The library of today treats it as a label: every role may link, pull and push.
 *
 * C++ `LlmRole` (`kPrompt`, `kDecoder`, `kMix`), Python `LLMRole`.
 */
export enum LLMRole {
  /** Runs the prompt and fills the KV cache. */
  PROMPT = 1,
  /** Generates tokens from a KV cache that it pulled or that was pushed to it. */
  DECODER = 2,
  /** Both. */
  MIX = 3,
}
