use proptest::prelude::*;

use super::*;

#[test]
fn the_literals_of_a_statement_are_masked_and_nothing_else_changes() {
    for (sql, masked) in [
        // What holds no literal.
        ("", ""),
        ("COMMIT", "COMMIT"),
        (
            "select  a ,\tb\r\n from `t 1`.`x'y` ;",
            "select  a ,\tb\r\n from `t 1`.`x'y` ;",
        ),
        ("SELECT `a``'b` FROM t", "SELECT `a``'b` FROM t"),
        (
            "SELECT @@session.x, @y := NULL, TRUE",
            "SELECT @@session.x, @y := NULL, TRUE",
        ),
        (
            "SELECT utf8mb4, t1.c2 FROM db1.t1",
            "SELECT utf8mb4, t1.c2 FROM db1.t1",
        ),
        ("INSERT INTO t VALUES (\\N, ?)", "INSERT INTO t VALUES (\\N, ?)"),
        ("SELECT größe FROM bücher", "SELECT größe FROM bücher"),
        // Strings.
        ("SELECT 'a', \"b\", ''", "SELECT ?, ?, ?"),
        ("SELECT 'it''s', \"say \"\"x\"\"\"", "SELECT ?, ?"),
        (
            r"SELECT 'it\'s', 'x' FROM t WHERE a='b'",
            "SELECT ?, ? FROM t WHERE a=?",
        ),
        (r"SELECT 'a\\', 'b'", "SELECT ?, ?"),
        (r#"SELECT "a\"b" , 'c"d', "e'f" "#, "SELECT ? , ?, ? "),
        ("SELECT 'a' 'b'", "SELECT ? ?"),
        ("SELECT 'a\n-- b', `c`", "SELECT ?, `c`"),
        (
            "SELECT N'x', n'x', _utf8'x', _utf8mb4 'é'",
            "SELECT ?, ?, _utf8?, _utf8mb4 ?",
        ),
        (
            "SELECT X'4D', x'4d', 0x4D, b'01', B'01', 0b01",
            "SELECT ?, ?, ?, ?, ?, ?",
        ),
        ("SELECT DATE'2024-01-01', {d '2024-01-01'}", "SELECT DATE?, {d ?}"),
        ("a->'$.b'>>\"$.c\"", "a->?>>?"),
        // Numbers.
        ("SELECT 1, 1.5, .5, 1e5, 1.5E-10, 1.", "SELECT ?, ?, ?, ?, ?, ?"),
        ("SELECT -1, +2, 3-4, 5*-6, 7--8", "SELECT -?, +?, ?-?, ?*-?, ?--?"),
        ("LIMIT 10,20", "LIMIT ?,?"),
        ("SELECT 4111111111111111and", "SELECT ?"),
        (
            "SELECT * FROM 2024_orders, db.2025_orders",
            "SELECT * FROM ?, db.?",
        ),
        ("WHERE a=1e5-2 and b=0x1e-5", "WHERE a=?-? and b=?-?"),
        // Passwords.
        ("SET PASSWORD = 'x'", "SET PASSWORD = ?"),
        (
            "SET PASSWORD FOR 'jo'@'%' = PASSWORD('x')",
            "SET PASSWORD FOR ?@? = PASSWORD(?)",
        ),
        (
            "CREATE USER jo@localhost IDENTIFIED BY 'x'",
            "CREATE USER jo@localhost IDENTIFIED BY ?",
        ),
        (
            "ALTER USER `jo`@`%` IDENTIFIED WITH mysql_native_password AS '*F846'",
            "ALTER USER `jo`@`%` IDENTIFIED WITH mysql_native_password AS ?",
        ),
        (
            "update u set password='x' where id=7",
            "update u set password=? where id=?",
        ),
        (
            "CHANGE MASTER TO MASTER_PASSWORD='x'",
            "CHANGE MASTER TO MASTER_PASSWORD=?",
        ),
        // Comments.
        ("SELECT /* 'x */ a", "SELECT /* ? */ a"),
        ("SELECT a -- it's\nFROM t", "SELECT a -- ?\nFROM t"),
        ("SELECT a # it's\r\nFROM t", "SELECT a # ?\nFROM t"),
        ("SELECT a --\tx", "SELECT a -- ?"),
        ("/**/SELECT/*+ SET_VAR(x='y') */a", "/* ? */SELECT/* ? */a"),
        ("SELECT a --'x'", "SELECT a --?"),
        ("/*!40101 SET NAMES 'x' */;", "/*!40101 SET NAMES ? */;"),
        ("/*!SET a=4111111111111111*/", "/*!SET a=?*/"),
        ("/*!4111111111111111*/", "/*!?*/"),
        // What hardly a server executes.
        ("/*M!100100 SET a='b' */ x", "/* ? */ x"),
        ("/*M! secret */ SELECT 'x'", "/* ? */ SELECT ?"),
        ("SELECT a /*!99999 secret */, 'b'", "SELECT a /* ? */, ?"),
        ("/*!90000 a, `b`*/ c", "/* ? */ c"),
        ("/*!999999 secret*/", "/* ? */"),
        ("/*!900000 secret", "/* ? */"),
        ("/*M!secret", "/* ? */"),
        ("/*!100100 a*/ /*!089999 b*/", "/*!100100 a*/ /*!089999 b*/"),
        // Amounts.
        ("SELECT $4111111111111111, $1.50, $, $a1", "SELECT ?, ?, $, $a1"),
        ("/*!80000 a -- b\n*/ 'c'", "/*!80000 a -- ?\n*/ ?"),
        // Cut.
        ("INSERT INTO t VALUES ('a', 'sec", "INSERT INTO t VALUES (?, ?"),
        (r"INSERT INTO t VALUES ('a', 'sec\", "INSERT INTO t VALUES (?, ?"),
        ("INSERT INTO t VALUES (N'sec", "INSERT INTO t VALUES (?"),
        ("SELECT a FROM `tab", "SELECT a FROM ?"),
        ("SELECT a /* sec", "SELECT a /* ? */"),
        ("SELECT a -- sec", "SELECT a -- ?"),
        ("SELECT a -", "SELECT a -"),
        ("SELECT a /", "SELECT a /"),
        ("/*!40101 SET a", "/*!40101 SET a"),
        ("/*!40101 SET a='sec", "?"),
        ("SELECT 1e", "SELECT ?"),
        ("SELECT 0x", "SELECT ?"),
    ] {
        assert_eq!(mask(sql), masked, "{sql}");
    }
}

#[test]
fn what_has_two_readings_is_masked_from_there_on() {
    for (sql, masked) in [
        // NO_BACKSLASH_ESCAPES: the strings are `C:\` and `secret`.
        (r"VALUES ('C:\', 'secret')", "VALUES (?"),
        (r"VALUES ('C:\', ' secret ')", "VALUES (?"),
        (r"VALUES ('C:\', ',secret')", "VALUES (?"),
        (r"VALUES ('C:\', '(secret)', 'D:\', 'secret", "VALUES (?"),
        // ANSI_QUOTES: the name is `a\`.
        (r#"SELECT "a\", "secret" FROM t"#, "SELECT ?"),
        // Or cut, after a backslash that escapes.
        (r"VALUES ('it\'s', a, 'sec", "VALUES (?"),
        // Whatever this is.
        (r"SELECT a\'secret'", "SELECT a?"),
        (r"name=\'secret\', 'secret'", "name=?"),
        ("'a'secret", "?"),
        ("SELECT ‘secret’", "SELECT ?"),
        ("SELECT 5“secret secret”", "SELECT ?"),
        ("AS $$ return 'a' + /secret/ $$", "AS ?"),
        // A server that is too old for the comment takes its first `*/` for its end.
        ("SELECT a /*!80000 'x */ secret' */", "SELECT a ?"),
        ("SELECT a /*!99999 it's */ , 'secret'", "SELECT a ?"),
        ("/*!80000 a /* b */ 'c' */", "?"),
        ("a /*M!100100 b='*/ secret' */", "a ?"),
        ("a /*!99999 b='*/ secret' */", "a ?"),
        (r"/*M! 'C:\', 'b' */ '=secret'", "?"),
        (r"a /*M! b='it\'s' */ # secret", "a ?"),
        // A comment in a string of NO_BACKSLASH_ESCAPES takes the quote that would show what it is.
        (
            r"INSERT INTO t (path, pw) VALUES ('C:\tmp\', '!secret#1')",
            "INSERT INTO t (path, pw) VALUES (?",
        ),
        (
            r"UPDATE t SET path='C:\', pw='=secret-- x'",
            "UPDATE t SET path=?",
        ),
        (r"UPDATE t SET path='C:\', pw='=secret/*x'", "UPDATE t SET path=?"),
        (
            r"UPDATE t SET path='C:\', pw='=secret/*!x*/'",
            "UPDATE t SET path=?",
        ),
        (r#"SELECT "a\", "=secret # x" FROM t"#, "SELECT ?"),
        (r"SELECT 'it\'s', secret -- x", "SELECT ?"),
        // To MySQL these are letters.
        ("card =\u{a0}4111secret", "card =?"),
        ("card =\u{3000}4111secret", "card =?"),
        ("card =\u{200b}4111secret", "card =?"),
        ("card =\u{fffd}4111secret", "card =?"),
        ("card = €4111secret", "card = ?"),
        ("card = \u{ff14}\u{ff11}secret", "card = ?"),
        ("SELECT ‹secret›", "SELECT ?"),
        ("SELECT 「secret」", "SELECT ?"),
        ("SELECT \u{2bc}secret\u{2bc}", "SELECT ?"),
        ("SELECT ❛secret❜", "SELECT ?"),
        ("SELECT 〝secret〞", "SELECT ?"),
        // Here sqlparser reads something else than MySQL does.
        (r"SELECT a, b'x\' secret', 'c'", "SELECT a, ?"),
        ("SELECT a --\u{a0}'x\ny secret'", "SELECT a --?"),
        ("SELECT )._secret", "SELECT )?"),
    ] {
        assert_eq!(mask(sql), masked, "{sql}");
        assert!(!masked.contains("secret") || sql.contains("._secret"), "{masked}");
    }
}

#[test]
fn control_characters_make_a_comment_as_the_server_has_it() {
    assert_eq!(mask("SELECT a --\u{1} it's\n, 'x'"), "SELECT a -- ?\n, ?");
}

/// What only secrets are made of, with what could end them too early.
const SECRET: &str = "[QWЖ789]{3,8}['\"`\\\\*/#; \n(,%_-]{0,4}[QWЖ789 ']{0,6}";

/// A piece of a statement, with or without a secret; never one that ends in the middle.
fn piece() -> impl Strategy<Value = String> {
    let doubled = |text: String, quote: &str| text.replace('\\', "\\\\").replace(quote, &quote.repeat(2));
    let escaped = |text: String, quote: &str| {
        let text = text.replace('\\', "\\\\").replace('\n', "\\n");
        text.replace(quote, &format!("\\{quote}"))
    };
    prop_oneof![
        4 => prop::sample::select(vec![
            "select ", "from t ", "`a'b` ", "`x\"--`.", " , ", "(", ")", "=", " and ", "\n", "@v:=", "a.b ", "\\N ",
            "identified by ", "/*!40101 ", " */ ", " - ", "-(", " * ", ";", "é ", "/* c */", "-- it's\n", "_binary", "date", "?",
        ]).prop_map(str::to_owned),
        2 => SECRET.prop_map(move |s| format!("'{}' ", doubled(s, "'"))),
        2 => SECRET.prop_map(move |s| format!("'{}',", escaped(s, "'"))),
        1 => SECRET.prop_map(move |s| format!("\"{}\"", doubled(s, "\""))),
        1 => SECRET.prop_map(move |s| format!("\"{}\" ", escaped(s, "\""))),
        1 => SECRET.prop_map(move |s| format!(" N'{}'", escaped(s, "'"))),
        1 => SECRET.prop_map(move |s| format!("_binary'{}')", doubled(s, "'"))),
        1 => "[789]{3,6}".prop_map(|s| format!(" X'{s}' ")),
        1 => "-?[789]{3,20}([.][789]{1,5})?([eE][+-]?[789]{1,3})?".prop_map(|s| format!(" {s} ")),
        1 => " (0x|0b|[.])[789]{3,20} ",
        1 => SECRET.prop_map(|s| format!("/* {} */", s.replace("*/", ""))),
        1 => SECRET.prop_map(|s| format!("-- {}\n", s.replace('\n', ""))),
        1 => SECRET.prop_map(|s| format!("#{}\n", s.replace('\n', ""))),
        1 => SECRET.prop_map(move |s| format!("/*!50003 SET a='{}'*/ ", doubled(s, "'"))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_part_of_a_literal_is_left_wherever_a_statement_is_cut(
        pieces in prop::collection::vec(piece(), 1..12),
        cut in 0.0..1.3f64,
    ) {
        let whole = pieces.concat();
        let length = (whole.chars().count() as f64 * cut) as usize;
        let sql: String = whole.chars().take(length).collect();
        let masked = mask(&sql);
        prop_assert!(!masked.contains(['Q', 'W', 'Ж', '7', '8', '9']), "{sql:?} became {masked:?}");
        prop_assert_eq!(mask(&masked), masked.as_ref());
    }

    #[test]
    fn masking_twice_is_masking_once_whatever_the_text(
        text in prop_oneof![".{0,60}", "['\"`\\\\*/#!;, \n$0-9a-bNXM_.?é-]{0,40}"],
    ) {
        let masked = mask(&text);
        prop_assert_eq!(mask(&masked), masked.as_ref(), "{:?}", text);
    }

    #[test]
    fn both_readings_agree_on_ordinary_statements(
        pieces in prop::collection::vec("select |from t |`a'b` |, |\\(|\\)|=|'a''b' |\"c\" |X'4D' |-1|2e5|@v|-- c\n|/\\* d \\*/", 0..20),
    ) {
        let sql = pieces.concat();
        prop_assert_eq!(tokens::parting(&sql, &scan::pieces(&sql)), None, "{}", sql);
    }

    #[test]
    fn a_whole_statement_of_a_server_without_backslash_escapes_shows_no_literal(
        strings in prop::collection::vec("[ =!`\"-]?([QWЖ789]{3,8}|)[\\\\ ,'`\"Q()#*/!;\n=-]{0,4}", 1..8),
    ) {
        let quoted: Vec<_> = strings.iter().map(|s| format!("'{}'", s.replace('\'', "''"))).collect();
        let sql = format!("insert into t values ({})", quoted.join(", "));
        let masked = mask(&sql);
        prop_assert!(!masked.contains(['Q', 'W', 'Ж', '7', '8', '9']), "{sql:?} became {masked:?}");
    }
}
