//! `docs/configuration.md` is made of the keys as they are described.

use weir::config::keys::{Default, Key, Kind, TOP};

use crate::is_generated;

const BEGIN: &str = "# Settings

Every key of the settings' file. This page is generated of what the program itself knows; tests keep it equal, and hold
each key, bound, word and default against the reader. [`config/full.yaml`](../config/full.yaml) has all keys in one
file.

The simplest file:

```yaml
pipelines:
  orders:
    source: { dynamodb_table: orders }
    destination: { group: /cdc/orders }
```

- `weir check -c weir.yaml` tells everything that is wrong with a file, and with what it names in AWS. `weir run`
  refuses a wrong file with every problem at once, each with its key, the value and the way out.
- **Variables.** Any value may hold `${VAR}` or `${VAR:-default}`, taken from the environment; `$${` is a literal `${`.
- **Durations** need a unit: `ms`, `s`, `m`, `h`. **Sizes** do too: `KiB`, `MiB`, `GiB`, `KB`, `MB`, `GB`.
- **Texts** that YAML would read as a number or a boolean have to be in quotes, and so do those that begin with `*` or
  `{`.
- **Flags.** Without a file, flags and their variables make one pipeline (`weir run --help`). Beside a file,
  `--application`, `--http-address`, `--log-format`, `--drain-timeout`, `--grace-period` and `--wire` stand before what it
  says.
- **Editors.** `weir schema > weir.schema.json` writes a JSON Schema; a file that begins with `# yaml-language-server:
  $schema=weir.schema.json` is completed and checked while it is written.
";

#[test]
fn the_page_of_the_settings_is_made_of_the_keys() {
    let mut page = BEGIN.to_owned();
    section(&mut page, "The file", "", TOP);
    is_generated("docs/configuration.md", &page);
}

/// Sections of so few keys stand in their parent's table.
const FEW: usize = 3;

fn section(page: &mut String, title: &str, path: &str, keys: &'static [Key]) {
    page.push_str(&format!("\n## {title}\n"));
    let mut rows = String::new();
    let mut more = Vec::new();
    let mut below = Vec::new();
    for key in keys {
        let inner = key.kind.below();
        match &key.kind {
            Kind::Section(_) if inner.len() <= FEW => {
                for one in inner {
                    row(&mut rows, &format!("{}.{}", key.name, one.name), one);
                }
            }
            Kind::Rules(_) => {
                row(&mut rows, key.name, key);
                for one in inner {
                    row(&mut rows, &format!("{}[].{}", key.name, one.name), one);
                }
            }
            Kind::Section(_) | Kind::Named(_) => {
                let name = match key.kind {
                    Kind::Named(_) => format!("{path}{}.NAME", key.name),
                    _ => format!("{path}{}", key.name),
                };
                let anchor: String = name.to_lowercase().chars().filter(|c| *c != '.').collect();
                rows.push_str(&format!(
                    "| `{}` | [section](#{anchor}) | {} | {} |\n",
                    key.name,
                    default(key),
                    cell(key.about)
                ));
                below.push((name, inner, key));
            }
            _ => row(&mut rows, key.name, key),
        }
        if !key.more.is_empty() && below.last().is_none_or(|(_, _, last)| !std::ptr::eq(*last, key)) {
            more.push(key);
        }
    }
    page.push_str(&format!(
        "\n| key | value | default | meaning |\n| --- | --- | --- | --- |\n{rows}"
    ));
    for key in more {
        page.push_str(&format!("\n**`{}`**\n", key.name));
        paragraphs(page, key);
    }
    for (name, keys, key) in below {
        section(page, &format!("`{name}`"), &format!("{name}."), keys);
        paragraphs(page, key);
        page.push_str(&format!("\n```yaml\n{}: {}\n```\n", key.name, key.example));
    }
}

fn row(rows: &mut String, name: &str, key: &Key) {
    let default = default(key);
    rows.push_str(&format!(
        "| `{name}` | {} | {default} | {} Example: `{}` |\n",
        cell(&key.kind.words()),
        cell(key.about),
        cell(key.example)
    ));
}

fn default(key: &Key) -> String {
    match (&key.default, &key.kind) {
        (Default::Value(value), _) => format!("`{}`", cell(value.trim_matches('"'))),
        (Default::Words(_), Kind::Section(_)) => String::new(),
        (Default::Words(words), _) => cell(words),
        (Default::Required, _) => "(required)".to_owned(),
        (Default::Alternative, _) => "(one of four)".to_owned(),
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn paragraphs(page: &mut String, key: &Key) {
    for paragraph in key.more {
        page.push('\n');
        for line in paragraph.lines() {
            wrapped(page, line);
        }
    }
}

/// One line, or an item of a list, in lines of 120.
fn wrapped(page: &mut String, line: &str) {
    let mut length = 0;
    for word in line.split(' ') {
        let width = word.chars().count();
        if length > 0 && length + 1 + width > 120 {
            page.push('\n');
            length = 0;
            if line.starts_with("- ") {
                page.push_str("  ");
                length = 2;
            }
        } else if length > 0 {
            page.push(' ');
            length += 1;
        }
        page.push_str(word);
        length += width;
    }
    page.push('\n');
}
