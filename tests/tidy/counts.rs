//! The last line of `./x test` is a sum: here the script reads outputs that the test runners really wrote.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::Tree;

/// What `./x count KIND` makes of an output: passed, failed and skipped tests, or nothing when it refuses.
fn count(kind: &str, output: &str) -> Option<String> {
    let script = Tree::of_workspace().root().join("x");
    let mut child = Command::new("sh")
        .arg(script)
        .args(["count", kind])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell is there");
    // Dropped at once, which closes it: the script reads to the end.
    child
        .stdin
        .take()
        .expect("it is piped")
        .write_all(output.as_bytes())
        .expect("the script reads its input");
    let result = child.wait_with_output().expect("the script ends");
    let words = String::from_utf8(result.stdout).expect("the script prints text");
    result.status.success().then(|| words.trim().to_owned())
}

#[test]
fn nextest_is_counted() {
    let summary = |words: &str| {
        count(
            "nextest",
            &format!(
                "        PASS [   0.004s] (1/2) keys a\n     Summary [   2.009s] {words}\nerror: test run failed\n"
            ),
        )
    };
    assert_eq!(summary("1 test run: 1 passed, 0 skipped").as_deref(), Some("1 0 0"));
    let mixed = "6 tests run: 3 passed (1 slow, 2 leaky), 1 failed, 1 exec failed, 1 timed out, 4 skipped";
    assert_eq!(summary(mixed).as_deref(), Some("3 3 4"));
    // Five tests never started.
    assert_eq!(
        summary("2/7 tests run: 1 passed, 1 failed, 1 skipped").as_deref(),
        Some("1 6 1")
    );
    assert_eq!(summary("0 tests run: 0 passed, 4 skipped"), None);
    // A failing test printed a summary of its own; the last one counts.
    let own = "     Summary [   1.000s] 9 tests run: 9 passed, 0 skipped\n";
    let last = "     Summary [   2.000s] 2 tests run: 1 passed, 1 failed, 0 skipped\n";
    assert_eq!(count("nextest", &[own, last].concat()).as_deref(), Some("1 1 0"));
    assert_eq!(count("nextest", "error: could not compile `keys`\n"), None);
}

#[test]
fn vitest_is_counted() {
    let output = [
        "\u{1b}[2m Test Files \u{1b}[22m \u{1b}[31m1 failed\u{1b}[39m | 2 passed (3)",
        "      Tests \u{1b}[22m \u{1b}[31m1 failed\u{1b}[39m | 5 passed | 1 expected fail | 1 skipped | 1 todo (9)",
        "\u{1b}[2m   Start at \u{1b}[22m 12:35:58\n",
    ];
    assert_eq!(count("vitest", &output.join("\n")).as_deref(), Some("6 1 2"));
    assert_eq!(
        count("vitest", " Test Files  1 failed (1)\n      Tests  no tests\n"),
        None
    );
}

#[test]
fn the_browser_tests_are_counted() {
    let output = |mark: &str| {
        let lines = [
            "tests 7",
            "pass 3",
            "fail 1",
            "cancelled 1",
            "skipped 1",
            "todo 1",
            "duration_ms 99.2",
        ];
        lines.map(|line| format!("{mark} {line}\n")).concat()
    };
    // The two forms in which Node.js writes it, for a pipe and for a terminal.
    assert_eq!(count("node", &output("#")).as_deref(), Some("3 2 2"));
    assert_eq!(count("node", &output("\u{2139}")).as_deref(), Some("3 2 2"));
    assert_eq!(
        count("node", "a page opens\n4 passed, 1 failed, 2 skipped\n").as_deref(),
        Some("4 1 2")
    );
    assert_eq!(count("node", "Error: cannot find module\n"), None);
}
