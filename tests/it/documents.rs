//! The documents match the program.

use std::path::Path;

use pilothouse::config;
use pilothouse::report::rights::markdown;
use pilothouse::ui::command::keys_table_markdown;
use pilothouse::ui::pane::columns_markdown;
use pilothouse_core::domain::settings::Settings;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn the_example_config_is_the_one_that_the_program_prints() {
    assert_eq!(
        read("config.example.toml"),
        config::fields::example(),
        "run: pilothouse config example > config.example.toml"
    );
}

#[test]
fn the_example_config_is_exactly_the_defaults() {
    let checked = config::check(&read("config.example.toml"), Path::new("config.example.toml"));
    assert!(checked.problems.is_empty(), "{:?}", checked.problems);
    assert_eq!(checked.settings, Settings::default());
}

#[test]
fn the_readme_has_the_tables_that_the_program_prints() {
    let readme = read("README.md");
    for (name, table, command) in [
        ("keys", keys_table_markdown(), "keys --markdown"),
        ("permissions", markdown(), "rbac --markdown"),
        ("columns", columns_markdown(), "config columns"),
        ("presets", config::presets::markdown(), "config presets --markdown"),
    ] {
        let (_, rest) =
            readme.split_once(&format!("<!-- {name} -->\n")).expect("the marker before the table");
        let (is, _) = rest.split_once(&format!("<!-- /{name} -->")).expect("the marker after the table");
        assert_eq!(is.trim(), table.trim(), "put the output of `pilothouse {command}` between the markers");
    }
}

#[test]
fn the_readme_names_every_rule() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("## What NOW finds\n").expect("its section");
    let (section, _) = rest.split_once("\n## ").expect("the section after it");
    for rule in pilothouse_core::policy::rules::names() {
        assert!(section.contains(&format!("`{rule}`")), "{rule}");
    }
}
