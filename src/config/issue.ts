// What is wrong with a configuration. Collected, so that an operator sees every problem at once.

export interface ConfigIssue {
  /** Where it is: `SITE_FILES.routes[3].auth`. */
  readonly key: string;
  /** What is wrong and how to mend it. Never contains a secret. */
  readonly message: string;
}

export interface Issues {
  readonly problems: readonly ConfigIssue[];
  readonly warnings: readonly ConfigIssue[];
  /** The configuration is refused. */
  add(key: string, message: string): void;
  /** The configuration works, and an operator should know. */
  warn(key: string, message: string): void;
}

/** An empty collection. */
export function createIssues(): Issues {
  const problems: ConfigIssue[] = [];
  const warnings: ConfigIssue[] = [];
  return {
    problems,
    warnings,
    add: (key, message) => void problems.push({ key, message }),
    warn: (key, message) => void warnings.push({ key, message }),
  };
}
