//! Verdicts as JUnit XML, which build servers read.

use std::{fmt::Write as _, time::Duration};

use super::Tested;

pub(super) fn write(tested: &[Tested]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for one in tested {
        suite(one, &mut out);
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(tested: &Tested, out: &mut String) {
    let name = escaped(&tested.name);
    let tests = tested.verdicts.len() + tested.broken.len();
    let failures = tested.verdicts.iter().filter(|verdict| !verdict.holds()).count();
    let elapsed: Duration = tested.verdicts.iter().map(|verdict| verdict.elapsed).sum();
    let seconds = elapsed.as_secs_f64();
    let errors = tested.broken.len();
    put(
        out,
        &format!(
            "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{seconds:.3}\">"
        ),
    );
    for broken in &tested.broken {
        let lines = broken.findings.iter().map(|found| {
            format!(
                "{}:{}:{}: {}: {}",
                broken.name, found.line, found.column, found.code, found.message
            )
        });
        let lines: Vec<_> = lines.collect();
        put(
            out,
            &format!(
                "    <testcase classname=\"{name}\" name=\"the file can be used\" time=\"0.000\">"
            ),
        );
        told(out, "error", &lines);
        put(out, "    </testcase>");
    }
    for verdict in &tested.verdicts {
        let case = format!(
            "    <testcase classname=\"{name}\" name=\"{}\" time=\"{:.3}\"",
            escaped(&verdict.name),
            verdict.elapsed.as_secs_f64()
        );
        if verdict.holds() {
            put(out, &format!("{case}/>"));
        } else {
            put(out, &format!("{case}>"));
            told(out, "failure", &verdict.failures);
            put(out, "    </testcase>");
        }
    }
    put(out, "  </testsuite>");
}

fn told(out: &mut String, element: &str, lines: &[String]) {
    let first = lines.first().map_or("", String::as_str);
    let all = escaped(&lines.join("\n"));
    put(out, &format!("      <{element} message=\"{}\">{all}</{element}>", escaped(first)));
}

fn put(out: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _infallible = writeln!(out, "{line}");
}

/// Of characters that XML 1.0 cannot hold at all, a sign that they were there.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' => out.push_str("&#10;"),
            '\t' => out.push_str("&#9;"),
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use baton_dsl::Place;

    use super::*;
    use crate::scenario::{Broken, Verdict, read::Reader};

    #[test]
    fn a_report_is_xml_whatever_the_names() {
        let verdict = |name: &str, failures: &[&str]| Verdict {
            name: name.into(),
            place: Place::START,
            status: "completed",
            took: baton_core::Duration(0),
            elapsed: Duration::from_millis(12),
            steps: 0,
            failures: failures.iter().map(ToString::to_string).collect(),
        };
        let mut reader = Reader::default();
        reader.problem("syntax", Place::START, "a < b".into(), "");
        let broken =
            Broken { name: "b.yaml".into(), source: String::new(), findings: reader.findings };
        let tested = [
            Tested {
                name: "a&b.yaml".into(),
                verdicts: vec![verdict("\"<ok>\"", &[]), verdict("bad", &["x > 'y'", "two\u{1}"])],
                broken: Vec::new(),
            },
            Tested { name: "b.yaml".into(), verdicts: Vec::new(), broken: vec![broken] },
        ];
        let expected = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
  <testsuite name="a&amp;b.yaml" tests="2" failures="1" errors="0" skipped="0" time="0.024">
    <testcase classname="a&amp;b.yaml" name="&quot;&lt;ok&gt;&quot;" time="0.012"/>
    <testcase classname="a&amp;b.yaml" name="bad" time="0.012">
      <failure message="x &gt; &apos;y&apos;">x &gt; &apos;y&apos;&#10;two�</failure>
    </testcase>
  </testsuite>
  <testsuite name="b.yaml" tests="1" failures="0" errors="1" skipped="0" time="0.000">
    <testcase classname="b.yaml" name="the file can be used" time="0.000">
      <error message="b.yaml:1:1: syntax: a &lt; b">b.yaml:1:1: syntax: a &lt; b</error>
    </testcase>
  </testsuite>
</testsuites>
"#;
        assert_eq!(write(&tested), expected);
    }
}
