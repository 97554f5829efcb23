// What `using` and `await using` need of the types. TypeScript 5.0 and 5.1 do not have them, later versions only with the
// library `esnext.disposable` or the types of Node; where one of those is there too, the declarations merge.

declare global {
  interface SymbolConstructor {
    readonly dispose: unique symbol;
    readonly asyncDispose: unique symbol;
  }

  interface Disposable {
    [Symbol.dispose](): void;
  }

  interface AsyncDisposable {
    [Symbol.asyncDispose](): PromiseLike<void>;
  }
}

export {};
