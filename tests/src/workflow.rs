//! Workflow documents as short as tests want them.

/// A workflow `lab/NAME:1.0.0` of these tasks: YAML, each line as it stands below `do:`.
pub fn lab(name: &str, tasks: &str) -> String {
    version(name, "1.0.0", tasks)
}

/// The same with a version.
pub fn version(name: &str, version: &str, tasks: &str) -> String {
    let tasks = tasks.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    format!(
        "document:\n  dsl: '1.0.3'\n  namespace: lab\n  name: {name}\n  version: '{version}'\ndo:\n{tasks}\n"
    )
}
