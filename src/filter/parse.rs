//! How a pattern is spelt.
//!
//! Pure. Refuses what Event Ruler refuses (but for a range of one number, and fields within an `$or` that have the name
//! of an operator), and what Event Ruler takes for a field although it was surely meant as an operator: such a pattern
//! would keep nothing, without a word.

use std::borrow::Cow;
use std::ops::Bound;

use serde_json::Value;

use super::rule::{Network, Rule, Scalar, TextRule, Wildcard};
use super::{FilterError, Pattern, Wanted};
use crate::json::Tree;
use crate::json::number::Decimal;
use crate::suggest;

const OR: &str = "$or";
const IGNORE_CASE: &str = "equals-ignore-case";
const ANYTHING_BUT: &str = "anything-but";

/// Each with a value, as an example.
const OPERATORS: [(&str, &str); 8] = [
    ("prefix", r#""us-""#),
    ("suffix", r#"".png""#),
    (IGNORE_CASE, r#""alice""#),
    ("wildcard", r#""/lib/*.so""#),
    (ANYTHING_BUT, r#"["READ", "CONNECT"]"#),
    ("numeric", r#"[">", 0, "<=", 5]"#),
    ("exists", "true"),
    ("cidr", r#""10.0.0.0/8""#),
];

/// The most digits that every float keeps.
const FLOAT_DIGITS: usize = 15;

/// What is wrong, and in which field below the one at hand.
struct Wrong {
    path: String,
    what: String,
}

type Read<T> = Result<T, Wrong>;

impl Wrong {
    fn here<T>(what: impl Into<String>) -> Read<T> {
        Err(Self {
            path: String::new(),
            what: what.into(),
        })
    }

    fn below(mut self, name: &str) -> Self {
        if !self.path.is_empty() {
            self.path.insert(0, '.');
        }
        self.path.insert_str(0, name);
        self
    }
}

/// Reads one pattern, the `number`th.
pub fn pattern(value: &Value, number: usize) -> Result<Pattern, FilterError> {
    let (text, spelling) = match value {
        Value::String(text) => (Cow::Borrowed(text.as_str()), Spelling { exact: true }),
        value => (Cow::Owned(value.to_string()), Spelling { exact: false }),
    };
    let read = match Tree::parse(&text) {
        Ok(Tree::Object(members)) => spelling.pattern(&members),
        Ok(other) => Wrong::here(format!(
            "is {}: write an object, as in {{\"eventName\": [\"INSERT\"]}}",
            kind(&other)
        )),
        Err(why) => Wrong::here(format!(
            "is {why}: write an object, as in {{\"eventName\": [\"INSERT\"]}}"
        )),
    };
    read.map_err(|Wrong { path, what }| FilterError::Pattern { number, path, what })
}

/// Where the numbers of a pattern come from.
#[derive(Clone, Copy)]
struct Spelling {
    /// From a text, with every digit. Else some may have been floats.
    exact: bool,
}

type Members<'a> = [(Cow<'a, str>, Tree<'a>)];

impl Spelling {
    fn pattern(self, members: &Members<'_>) -> Read<Pattern> {
        if members.is_empty() {
            return Wrong::here("is empty: name a field in it, as in {\"eventName\": [\"INSERT\"]}");
        }
        let mut read = Pattern {
            fields: Vec::new(),
            either: Vec::new(),
        };
        for (i, (name, value)) in members.iter().enumerate() {
            let here = |wrong: Wrong| wrong.below(name);
            if members[..i].iter().any(|(other, _)| other == name) {
                return Wrong::here("stands twice: keep one").map_err(here);
            }
            if name == OR {
                read.either.push(self.branches(value).map_err(here)?);
            } else {
                let wanted = self.wanted(name, value).map_err(here)?;
                read.fields.push((name.clone().into_owned(), wanted));
            }
        }
        Ok(read)
    }

    fn branches(self, value: &Tree<'_>) -> Read<Vec<Pattern>> {
        const TAKES: &str = "takes a list of two patterns or more, as in [{\"a\": [1]}, {\"b\": [2]}]";
        let items = match value {
            Tree::List(items) if items.len() >= 2 => items,
            Tree::List(_) => return Wrong::here(TAKES),
            other => return Wrong::here(format!("is {}: it {TAKES}", kind(other))),
        };
        let branches = items
            .iter()
            .zip(1..)
            .map(|(item, number): (_, usize)| match item {
                Tree::Object(members) => self
                    .pattern(members)
                    .map_err(|wrong| wrong.below(&number.to_string())),
                other => Wrong::here(format!("holds {}: it {TAKES}", kind(other))),
            });
        branches.collect()
    }

    fn wanted(self, name: &str, value: &Tree<'_>) -> Read<Wanted> {
        if is_operator(name, value) {
            let field = match value {
                Tree::List(_) | Tree::Object(_) => "",
                _ => "; or, if it is a field, put its value in a list",
            };
            return Wrong::here(format!(
                "is an operator and stands outside of a list: write the field above it as [{{\"{name}\": {}}}]{field}",
                shown(value)
            ));
        }
        match value {
            // As Lambda's API has it: {"Filters": [{"Pattern": "{...}"}]}.
            Tree::Text(text) if name == "Pattern" => Wrong::here(format!(
                "is how Lambda's API calls a pattern: remove `Pattern:` and write the text itself, as in '{}'",
                cut(text)
            )),
            Tree::Object(members) => self.pattern(members).map(Wanted::Within),
            Tree::List(items) if items.is_empty() => Wrong::here(
                "is an empty list, which nothing matches: write what the field may be, as in [\"INSERT\"], or [null]",
            ),
            Tree::List(items) => {
                let rules = items.iter().map(|item| self.rule(item));
                rules.collect::<Read<_>>().map(Wanted::OneOf)
            }
            other => Wrong::here(format!(
                "is {}: put it in a list, as in [{}]",
                kind(other),
                shown(other)
            )),
        }
    }

    fn rule(self, item: &Tree<'_>) -> Read<Rule> {
        Ok(match item {
            Tree::List(_) => {
                return Wrong::here("holds a list in a list: write all values into one list");
            }
            Tree::Object(members) => match members.as_slice() {
                [(name, value)] => return self.operator(name, value),
                [] => return Wrong::here("holds {}: name an operator in it, as in [{\"prefix\": \"us-\"}]"),
                _ => {
                    return Wrong::here(
                        "holds several operators in one pair of braces: give each its own, as in [{\"prefix\": \"a\"}, \
                         {\"suffix\": \"b\"}], of which any may match",
                    );
                }
            },
            Tree::Null => Rule::Is(Scalar::Null),
            Tree::Bool(bool) => Rule::Is(Scalar::Bool(*bool)),
            Tree::Number(number) => Rule::Is(Scalar::Number(self.number(number)?)),
            Tree::Text(text) => Rule::Is(Scalar::Text(text.clone().into_owned())),
        })
    }

    fn operator(self, name: &str, value: &Tree<'_>) -> Read<Rule> {
        Ok(match (name, value) {
            (ANYTHING_BUT, value) => Rule::AnythingBut(self.anything_but(value)?),
            ("numeric", Tree::List(items)) => self.numeric(items)?,
            ("exists", Tree::Bool(true)) => Rule::Exists,
            ("exists", Tree::Bool(false)) => Rule::Absent,
            ("cidr", Tree::Text(text)) => match Network::read(text) {
                Some(network) => Rule::Cidr(network),
                None => {
                    return Wrong::here(format!(
                        "holds the cidr {}, which is no network: write an address and its bits, as in 10.0.0.0/8",
                        shown(value)
                    ));
                }
            },
            (name, value) => Rule::Text(text_rule(name, value)?),
        })
    }

    fn numeric(self, items: &[Tree<'_>]) -> Read<Rule> {
        const TAKES: &str = "holds a `numeric` that can't be read: write one comparison by = < <= > >= and a number, or a \
                             lower and an upper bound, as in [\">\", 0, \"<=\", 5]";
        let bound = |operator: &Tree<'_>, number: &Tree<'_>| match (operator, number) {
            (Tree::Text(operator), Tree::Number(number)) => Ok((operator.to_string(), self.number(number)?)),
            (Tree::Text(_), Tree::Text(text)) => Wrong::here(format!(
                "holds a `numeric` that compares with the text {}: remove its quotes (texts, and so the N of DynamoDB, \
                 never match a `numeric`)",
                shown(&Tree::text(text.as_ref()))
            )),
            _ => Wrong::here(TAKES),
        };
        let (from, to) = match items {
            [operator, number] => {
                let (operator, number) = bound(operator, number)?;
                match operator.as_str() {
                    "=" => (Bound::Included(number.clone()), Bound::Included(number)),
                    "<" => (Bound::Unbounded, Bound::Excluded(number)),
                    "<=" => (Bound::Unbounded, Bound::Included(number)),
                    ">" => (Bound::Excluded(number), Bound::Unbounded),
                    ">=" => (Bound::Included(number), Bound::Unbounded),
                    _ => return Wrong::here(TAKES),
                }
            }
            [lower, from, upper, to] => {
                let ((lower, from), (upper, to)) = (bound(lower, from)?, bound(upper, to)?);
                let inclusive = lower == ">=" && upper == "<=";
                if !matches!((&*lower, &*upper), (">" | ">=", "<" | "<=")) {
                    return Wrong::here(TAKES);
                }
                if from > to || (from == to && !inclusive) {
                    return Wrong::here("holds a `numeric` that no number is within: swap its bounds");
                }
                let from = if lower == ">" {
                    Bound::Excluded(from)
                } else {
                    Bound::Included(from)
                };
                let to = if upper == "<" {
                    Bound::Excluded(to)
                } else {
                    Bound::Included(to)
                };
                (from, to)
            }
            _ => return Wrong::here(TAKES),
        };
        Ok(Rule::Numeric(from, to))
    }

    fn anything_but(self, value: &Tree<'_>) -> Read<Vec<Rule>> {
        let (operator, values) = match value {
            Tree::Object(members) => match members.as_slice() {
                [(name, value)] if ["prefix", "suffix", IGNORE_CASE, "wildcard"].contains(&name.as_ref()) => {
                    (Some(name.as_ref()), value)
                }
                _ => {
                    return Wrong::here(format!(
                        "holds `{ANYTHING_BUT}` with {}: it takes one of prefix, suffix, {IGNORE_CASE}, wildcard",
                        shown(value)
                    ));
                }
            },
            value => (None, value),
        };
        let values = match values {
            Tree::List(values) => values.as_slice(),
            one => std::slice::from_ref(one),
        };
        let texts = values.iter().all(|value| matches!(value, Tree::Text(_)));
        let numbers = values.iter().all(|value| matches!(value, Tree::Number(_)));
        if values.is_empty() || !(texts || (numbers && operator.is_none())) {
            let numbers = if operator.is_none() {
                " or numbers alone"
            } else {
                ""
            };
            return Wrong::here(format!(
                "holds `{ANYTHING_BUT}` with {}: it takes texts alone{numbers}, one or a list of them",
                shown(value)
            ));
        }
        let rules = values.iter().map(|value| match operator {
            None => self.rule(value),
            Some(operator) if value.as_text() == Some("") && operator != IGNORE_CASE => Wrong::here(format!(
                "holds `{ANYTHING_BUT}` with an empty {operator}: write at least a character"
            )),
            Some(operator) => text_rule(operator, value).map(Rule::Text),
        });
        rules.collect()
    }

    fn number(self, text: &str) -> Read<Decimal> {
        let Some(number) = Decimal::of_json(text) else {
            return Wrong::here(format!("holds the number {text}, which can't be read"));
        };
        if !self.exact && text.contains(['.', 'e', 'E']) && number.significant() > FLOAT_DIGITS {
            return Wrong::here(format!(
                "holds the number {text}, which has more digits than YAML keeps: write the whole pattern as JSON in quotes, \
                 which keeps all"
            ));
        }
        Ok(number)
    }
}

fn text_rule(name: &str, value: &Tree<'_>) -> Read<TextRule> {
    let ignoring_case = match value {
        Tree::Object(members) => match members.as_slice() {
            [(name, Tree::Text(text))] if name == IGNORE_CASE => Some(text),
            _ => None,
        },
        _ => None,
    };
    let own = |text: &Cow<'_, str>| text.clone().into_owned();
    Ok(match (name, value, ignoring_case) {
        ("prefix", Tree::Text(text), _) => TextRule::Prefix(own(text)),
        ("suffix", Tree::Text(text), _) => TextRule::Suffix(own(text)),
        ("prefix", _, Some(text)) => TextRule::PrefixIgnoreCase(own(text)),
        ("suffix", _, Some(text)) => TextRule::SuffixIgnoreCase(own(text)),
        (IGNORE_CASE, Tree::Text(text), _) => TextRule::EqualsIgnoreCase(own(text)),
        ("wildcard", Tree::Text(text), _) => match Wildcard::read(text) {
            Ok(wildcard) => TextRule::Wildcard(wildcard),
            Err(why) => return Wrong::here(format!("holds the wildcard {}, which {why}", shown(value))),
        },
        _ => {
            let Some((_, example)) = OPERATORS.iter().find(|(operator, _)| *operator == name) else {
                let known = OPERATORS.map(|(operator, _)| operator);
                let way_out = suggest::one_of(name, &known);
                return Wrong::here(format!("holds the unknown operator `{name}`: {way_out}"));
            };
            return Wrong::here(format!(
                "holds `{name}` with {}: write it as in {{\"{name}\": {example}}}",
                shown(value)
            ));
        }
    })
}

/// Whether a name with this value is an operator that was meant for the field above it.
fn is_operator(name: &str, value: &Tree<'_>) -> bool {
    match (name, value) {
        (ANYTHING_BUT | IGNORE_CASE, _) => true,
        ("numeric", Tree::List(items)) => {
            let first = items.first().and_then(Tree::as_text);
            first.is_some_and(|first| ["=", "<", "<=", ">", ">="].contains(&first))
        }
        ("prefix" | "suffix", Tree::Object(members)) => {
            matches!(members.as_slice(), [(inner, _)] if inner == IGNORE_CASE)
        }
        (_, Tree::List(_) | Tree::Object(_)) => false,
        _ => OPERATORS.iter().any(|(operator, _)| *operator == name),
    }
}

fn kind(value: &Tree<'_>) -> &'static str {
    match value {
        Tree::Null => "null",
        Tree::Bool(_) => "a boolean",
        Tree::Number(_) => "a number",
        Tree::Text(_) => "a text",
        Tree::List(_) => "a list",
        Tree::Object(_) => "an object",
    }
}

/// A value as JSON, cut where it is long.
fn shown(value: &Tree<'_>) -> String {
    cut(&value.to_string())
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::filter::Filter;

    fn error_of(patterns: &[Value]) -> String {
        match Filter::parse(patterns) {
            Ok(filter) => panic!("{patterns:?} are {filter:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_malformed_pattern_is_told_with_its_place_and_the_way_out() {
        for (pattern, says) in [
            (
                json!({"eventName": "INSERT"}),
                r#"pattern 1: `eventName` is a text: put it in a list, as in ["INSERT"]"#,
            ),
            (
                json!({"a": {"b": 5}}),
                "pattern 1: `a.b` is a number: put it in a list, as in [5]",
            ),
            (
                json!({"a": true}),
                "`a` is a boolean: put it in a list, as in [true]",
            ),
            (json!({"a": null}), "`a` is null: put it in a list, as in [null]"),
            (json!({}), "pattern 1 is empty: name a field in it"),
            (json!({"a": {}}), "pattern 1: `a` is empty: name a field in it"),
            (json!({"a": []}), "`a` is an empty list, which nothing matches"),
            (
                json!({"a": [["b"]]}),
                "`a` holds a list in a list: write all values into one",
            ),
            (json!({"a": [{}]}), "`a` holds {}: name an operator in it"),
            (json!([]), "pattern 1 is a list: write an object"),
            (json!(7), "pattern 1 is a number: write an object"),
            (json!(null), "pattern 1 is null: write an object"),
            (
                json!("single-string"),
                "pattern 1 is not JSON: expected value at line 1 column 1: write an object",
            ),
            (json!("\"text\""), "pattern 1 is a text: write an object"),
            (
                json!("[{\"eventName\": [\"INSERT\"=123}]"),
                "pattern 1 is not JSON: ",
            ),
            (json!("{\"a\":[1],\"a\":[2]}"), "`a` stands twice: keep one"),
            (
                json!("{\"a\":[1]} x"),
                "pattern 1 is not JSON: trailing characters",
            ),
            (
                json!({"a": [{"prefix": "a", "suffix": "b"}]}),
                "`a` holds several operators in one pair of braces: give each its own",
            ),
            (
                json!({"a": [{"prefixes": "a"}]}),
                "`a` holds the unknown operator `prefixes`: did you mean `prefix`?",
            ),
            (
                json!({"a": [{"regex": "a"}]}),
                "`a` holds the unknown operator `regex`: use one of prefix, suffix, equals-ignore-case, wildcard, \
                 anything-but, numeric, exists, cidr",
            ),
            (
                json!({"a": [{"prefix": 1}]}),
                r#"`a` holds `prefix` with 1: write it as in {"prefix": "us-"}"#,
            ),
            (
                json!({"a": [{"prefix": ["a"]}]}),
                r#"`a` holds `prefix` with ["a"]: write it as in {"prefix": "us-"}"#,
            ),
            (
                json!({"a": [{"suffix": {"prefix": "a"}}]}),
                r#"`a` holds `suffix` with {"prefix":"a"}: write it as in"#,
            ),
            (
                json!({"a": [{"equals-ignore-case": ["a"]}]}),
                "`a` holds `equals-ignore-case` with",
            ),
            (json!({"a": [{"wildcard": 1}]}), "`a` holds `wildcard` with 1"),
            (
                json!({"a": [{"wildcard": "a**b"}]}),
                r#"`a` holds the wildcard "a**b", which holds two `*` in a row: write one"#,
            ),
            (
                json!({"a": [{"wildcard": "a\\b"}]}),
                r"which holds a `\` that escapes nothing",
            ),
            (
                json!({"a": [{"wildcard": "a\\"}]}),
                r"which holds a `\` that escapes nothing",
            ),
            (
                json!({"a": [{"exists": "yes"}]}),
                r#"`a` holds `exists` with "yes": write it as in {"exists": true}"#,
            ),
            (
                json!({"a": [{"cidr": "10.0.0.0"}]}),
                r#"`a` holds the cidr "10.0.0.0", which is no network"#,
            ),
            (json!({"a": [{"cidr": "10.0.0.0/33"}]}), "which is no network"),
            (json!({"a": [{"cidr": "10.0.0.0/+8"}]}), "which is no network"),
            (json!({"a": [{"cidr": "x/8"}]}), "which is no network"),
            (json!({"a": [{"cidr": 8}]}), "`a` holds `cidr` with 8"),
            (
                json!({"a": [{"numeric": 5}]}),
                r#"`a` holds `numeric` with 5: write it as in {"numeric": [">", 0, "<=", 5]}"#,
            ),
            (
                json!({"a": [{"numeric": []}]}),
                "`a` holds a `numeric` that can't be read",
            ),
            (json!({"a": [{"numeric": [">"]}]}), "can't be read"),
            (
                json!({"a": [{"numeric": ["==", 5]}]}),
                "write one comparison by = < <= > >= and a number",
            ),
            (json!({"a": [{"numeric": [5, ">"]}]}), "can't be read"),
            (
                json!({"a": [{"numeric": [">", "5"]}]}),
                r#"`a` holds a `numeric` that compares with the text "5": remove its quotes"#,
            ),
            (
                json!({"a": [{"numeric": ["<", 5, ">", 0]}]}),
                "or a lower and an upper bound",
            ),
            (json!({"a": [{"numeric": ["=", 5, "<", 9]}]}), "can't be read"),
            (
                json!({"a": [{"numeric": [">", 5, "<", 0]}]}),
                "that no number is within: swap its bounds",
            ),
            (
                json!({"a": [{"numeric": [">", 5, "<=", 5]}]}),
                "that no number is within",
            ),
            (
                json!({"a": [{"numeric": [">=", 5, "<", 5]}]}),
                "that no number is within",
            ),
            (
                json!({"a": [{"anything-but": null}]}),
                "`a` holds `anything-but` with null: it takes texts alone or numbers",
            ),
            (
                json!({"a": [{"anything-but": ["a", 1]}]}),
                "it takes texts alone or numbers alone, one or a list of them",
            ),
            (
                json!({"a": [{"anything-but": []}]}),
                "it takes texts alone or numbers alone",
            ),
            (
                json!({"a": [{"anything-but": [true]}]}),
                "it takes texts alone or numbers alone",
            ),
            (
                json!({"a": [{"anything-but": {"prefix": 1}}]}),
                "it takes texts alone, one or a list",
            ),
            (
                json!({"a": [{"anything-but": {"prefix": []}}]}),
                "it takes texts alone",
            ),
            (
                json!({"a": [{"anything-but": {"suffix": ["a", ""]}}]}),
                "`a` holds `anything-but` with an empty suffix: write at least a character",
            ),
            (
                json!({"a": [{"anything-but": {"numeric": [">", 5]}}]}),
                "it takes one of prefix, suffix, equals-ignore-case, wildcard",
            ),
            (
                json!({"a": [{"anything-but": {}}]}),
                "it takes one of prefix, suffix",
            ),
            (
                json!({"a": {"prefix": "b"}}),
                r#"`a.prefix` is an operator and stands outside of a list: write the field above it as [{"prefix": "b"}]; or, if it is a field"#,
            ),
            (
                json!({"a": {"anything-but": ["b"]}}),
                r#"`a.anything-but` is an operator and stands outside of a list: write the field above it as [{"anything-but": ["b"]}]"#,
            ),
            (
                json!({"a": {"exists": true}}),
                "`a.exists` is an operator and stands outside of a list",
            ),
            (
                json!({"a": {"numeric": [">", 1]}}),
                "`a.numeric` is an operator and stands outside",
            ),
            (
                json!({"a": {"prefix": {"equals-ignore-case": "b"}}}),
                r#"`a.prefix` is an operator and stands outside of a list: write the field above it as [{"prefix": {"equals-ignore-case":"b"}}]"#,
            ),
            (
                json!({"Pattern": "{\"eventName\":[\"INSERT\"]}"}),
                r#"`Pattern` is how Lambda's API calls a pattern: remove `Pattern:` and write the text itself, as in '{"eventName":["INSERT"]}'"#,
            ),
            (
                json!({"$or": {"a": [1]}}),
                "`$or` is an object: it takes a list of two patterns or more",
            ),
            (
                json!({"$or": [{"a": [1]}]}),
                "`$or` takes a list of two patterns or more",
            ),
            (json!({"$or": []}), "`$or` takes a list of two patterns or more"),
            (
                json!({"$or": [{"a": [1]}, 2]}),
                "`$or` holds a number: it takes a list of two patterns",
            ),
            (
                json!({"d": {"$or": [{"a": [1]}, {"b": "x"}]}}),
                "`d.$or.2.b` is a text: put it in a list",
            ),
            (json!({"$or": [{}, {"b": ["x"]}]}), "`$or.1` is empty"),
            (
                json!({"a": [1.2345678901234567e30]}),
                "`a` holds the number 1.2345678901234567e+30, which has more digits than YAML keeps: write the whole \
                 pattern as JSON in quotes",
            ),
            (
                json!({"a": [{"numeric": [">", 0.1234567890123456]}]}),
                "more digits than YAML keeps",
            ),
        ] {
            let error = error_of(&[pattern]);
            assert!(error.contains(says), "{error}");
        }
        assert_eq!(
            error_of(&[]),
            "holds no pattern, and would keep nothing: add one, or remove the key"
        );
        let one = json!({"a": [1]});
        assert!(Filter::parse(&vec![one.clone(); 5]).is_ok());
        assert_eq!(
            error_of(&vec![one.clone(); 6]),
            "holds 6 patterns where 5 are the most: join some by `$or`"
        );
        assert!(error_of(&[one, json!({"a": 1})]).starts_with("pattern 2: `a` is a number"));
        let deep = format!("{}[1]{}", "{\"a\":".repeat(200), "}".repeat(200));
        assert!(error_of(&[deep.into()]).contains("pattern 1 is "));
        let long = error_of(&[json!({"a": "x".repeat(500)})]);
        assert!(long.ends_with("xxx…]") && long.len() < 150, "{long}");
    }
}
