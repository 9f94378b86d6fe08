// Text files imported by tests.
declare module "*?raw" {
  const text: string;

  // biome-ignore lint/style/noDefaultExport: this is how the bundler hands texts over
  export { text as default };
}
