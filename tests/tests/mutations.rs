//! The list of what enforces governance is sound, so that `make mutations` takes away what it says.

#![cfg(test)]

use baton_tests::mutations::{points, repeated};
use baton_tests::settings;

#[test]
fn each_point_stands_once_in_its_file_and_has_a_test_that_exists() {
    let (root, points) = (settings::root(), points().unwrap());
    assert_eq!(repeated(&points), [""; 0]);
    for point in &points {
        let (with, without) = point.texts(&root).unwrap();
        assert_ne!(with, without, "{}", point.name);
        let (file, name) = point.test.place(&root).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let before = text.split(&format!("fn {name}()")).next().unwrap();
        assert_ne!(before, text, "{} has no {name}", file.display());
        let attribute = before.trim_end_matches("async ").trim_end();
        assert!(attribute.ends_with("test]"), "{name} is no test");
    }
}
