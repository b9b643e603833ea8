//! Go templates for `--format`, as Docker's commands take them: fields, `range`, `if`, `with`, variables, pipelines, comparisons
//! and Docker's own functions (`json`, `join`, `table`).
//!
//! This is a renderer of our own for that part of Go's text/template. The crate gtmpl keeps maps in the order of their hashes,
//! so `json` and `range` would print another order in each run, and for a missing key it prints nothing, where Docker reports
//! an error.

mod escape;
mod evaluate;
mod function;
mod literal;
mod parse;
mod printf;
mod zero;

use serde_json::Value;

use self::evaluate::Scope;
use self::parse::{Definitions, TemplateNode};
use super::columns::table;

/// A template.
#[derive(Debug)]
pub struct Template {
    written: String,
    nodes: Vec<TemplateNode>,
    definitions: Definitions,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// It is none: why, in Go's words where it has some.
    pub fn parse(written: &str) -> Result<Template, String> {
        let (nodes, definitions) = parse::parse(written, |text| text.to_owned())?;
        Ok(Template { written: written.to_owned(), nodes, definitions })
    }

    /// Reads the template of a line. Outside actions, `\t` is a tab and `\n` a newline, as Docker's lists have it.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_line(written: &str) -> Result<Template, String> {
        let (nodes, definitions) =
            parse::parse(written, |text| text.replace("\\t", "\t").replace("\\n", "\n"))?;
        Ok(Template { written: written.to_owned(), nodes, definitions })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// There is no such field; a function cannot be applied.
    pub fn fill(&self, value: &Value) -> Result<String, String> {
        self.fill_as(value, false)
    }

    fn fill_as(&self, value: &Value, is_header: bool) -> Result<String, String> {
        let mut out = String::new();
        let filled = Scope::new(value, &self.definitions, is_header).fill(&self.nodes, &mut out);
        filled.map_err(|why| format!("{}executing \"\" {why}", place_of(&self.written, &why)))?;
        Ok(out)
    }
}

/// The line and the column of what an error is about, as Go writes them: `:1:2:`. The column is that of the second field, or of
/// the only one. An error without fields has none.
fn place_of(template: &str, why: &str) -> String {
    let fields = why.strip_prefix("at <").and_then(|rest| rest.split_once('>')).map(|(fields, _)| fields);
    let found = fields.and_then(|fields| Some((template.find(fields)?, fields)));
    let Some((at, fields)) = found else { return String::new() };
    let second = fields.match_indices('.').nth(1).map_or(0, |(second, _)| second);
    let before = &template[..at + second];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    format!(":{}:{}: ", 1 + before.matches('\n').count(), before.len() - start)
}

/// How a command with Docker's words prints its result.
#[derive(Debug)]
pub enum OutputFormat {
    /// A table with the columns of the command.
    Table,
    /// One object on each line.
    Json,
    /// A table with these columns: `table {{.ID}}\t{{.Names}}`.
    Columns(Template),
    /// The template for each line.
    Lines(Template),
}

impl OutputFormat {
    /// Reads the value of `--format` of a list. `raw` is the template of the word `raw`, if the list has one.
    ///
    /// # Errors
    /// The template is none.
    pub fn parse(written: &str, raw: Option<&str>) -> Result<OutputFormat, String> {
        Ok(match (written, raw) {
            ("" | "table", _) => OutputFormat::Table,
            ("json", _) => OutputFormat::Json,
            ("raw", Some(raw)) => OutputFormat::Lines(Template::parse(raw)?),
            _ => match written.strip_prefix("table ") {
                Some(columns) => OutputFormat::Columns(Template::parse_line(columns.trim())?),
                None => OutputFormat::Lines(Template::parse_line(written)?),
            },
        })
    }

    /// The same for a description or an event: Docker gives the template to Go as it is.
    ///
    /// # Errors
    /// The template is none.
    pub fn parse_described(written: &str) -> Result<OutputFormat, String> {
        match OutputFormat::parse(written, None)? {
            OutputFormat::Lines(_) => Ok(OutputFormat::Lines(Template::parse(written)?)),
            other => Ok(other),
        }
    }

    /// The lines for rows. `titles` has the title of each field, and `own` the fields of the command's own table.
    ///
    /// # Errors
    /// As [`Template::fill`].
    pub fn rows(&self, titles: &[(&str, &str)], own: &[&str], rows: &[Value]) -> Result<String, String> {
        let title = |field: &str| {
            titles
                .iter()
                .find(|(name, _)| *name == field)
                .map_or(field.to_uppercase(), |(_, title)| (*title).to_owned())
        };
        match self {
            OutputFormat::Json => Ok(rows.iter().map(|row| format!("{row}\n")).collect()),
            OutputFormat::Lines(template) => rows.iter().map(|row| Ok(template.fill(row)? + "\n")).collect(),
            OutputFormat::Table => {
                let text = |row: &Value, field: &&str| row[*field].as_str().unwrap_or_default().to_owned();
                let rows: Vec<Vec<String>> =
                    rows.iter().map(|row| own.iter().map(|field| text(row, field)).collect()).collect();
                let titles: Vec<String> = own.iter().map(|field| title(field)).collect();
                Ok(table(&titles.iter().map(String::as_str).collect::<Vec<_>>(), &rows))
            }
            OutputFormat::Columns(template) => {
                let all = titles.iter().map(|(field, _)| ((*field).to_owned(), Value::from(title(field))));
                let first = template.fill_as(&Value::Object(all.collect()), true)?;
                let cells = |line: String| line.split('\t').map(str::to_owned).collect::<Vec<_>>();
                let titles = cells(first);
                let mut lines = Vec::new();
                for row in rows {
                    let mut cells = cells(template.fill(row)?);
                    cells.resize(titles.len().max(cells.len()), String::new());
                    cells.truncate(titles.len());
                    lines.push(cells);
                }
                Ok(table(&titles.iter().map(String::as_str).collect::<Vec<_>>(), &lines))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let value = json!({
            "Name": "/web", "Empty": "", "Count": 3, "On": true, "Off": false, "Nothing": null, "List": ["a", "b"],
            "State": {"Pid": 7, "Status": "running"}, "Ports": {"80/tcp": [{"HostPort": "8080"}], "9/udp": null},
            "Labels": "com.example.team=red,list=a,b,z=",
        });
        Template::parse(template)?.fill(&value)
    }

    #[test]
    fn templates_of_dockers_pages_are_filled() {
        for (template, expected) in [
            ("{{.Name}}", "/web"),
            ("{{ .State.Pid }} {{.Count}}", "7 3"),
            ("{{json .State}}", r#"{"Pid":7,"Status":"running"}"#),
            ("{{json .}}", &serde_json::to_string(&json!({
                "Name": "/web", "Empty": "", "Count": 3, "On": true, "Off": false, "Nothing": null, "List": ["a", "b"],
                "State": {"Pid": 7, "Status": "running"}, "Ports": {"80/tcp": [{"HostPort": "8080"}], "9/udp": null},
                "Labels": "com.example.team=red,list=a,b,z=",
            })).unwrap()),
            ("{{range .List}}<{{.}}>{{end}}", "<a><b>"),
            ("{{range $i, $e := .List}}{{$i}}={{$e}} {{end}}", "0=a 1=b "),
            ("{{range $p, $conf := .Ports}}{{$p}} -> {{(index $conf 0).HostPort}};{{break}}{{end}}", "80/tcp -> 8080;"),
            ("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080"),
            ("{{with index .Ports \"80/tcp\"}}{{(index . 0).HostPort}}{{end}}", "8080"),
            ("{{range .Nothing}}x{{else}}none{{end}}", "none"),
            ("{{if .On}}yes{{else}}no{{end}}{{if .Off}}yes{{else if .Count}}three{{end}}", "yesthree"),
            ("{{if and .On (not .Off)}}both{{end}}{{if or .Empty .Nothing}}x{{end}}", "both"),
            ("{{if eq .State.Status \"running\"}}up{{end}}{{if gt .Count 2}} many{{end}}", "up many"),
            ("{{.Name | upper}} {{join .List \", \"}} {{len .List}} {{title .State.Status}}", "/WEB a, b 2 Running"),
            ("{{index .List 1}} {{slice .Name 1}} {{split .Name \"/\"}}", "b web [ web]"),
            ("{{printf \"%s:%d\" .Name .Count}} {{truncate .Name 2}} {{pad .Name 1 1}}|", "/web:3 /w  /web |"),
            ("{{$x := .Count}}{{$x}}{{/* no */}} a {{- .Count -}} b", "3 a3b"),
            ("{{.List}} {{.State}} {{.Nothing}}", "[a b] map[Pid:7 Status:running] <no value>"),
            // Text is not read, strings are.
            (r"{{.Name}}\t{{.Count}}", r"/web\t3"),
            (r#"{{printf "%s\t%s\n" .Name .Count}}{{join .List "\n"}}{{"\t"}}"#, "/web\t%!s(int=3)\na\nb\t"),
            ("{{printf \"%s\t%s\" .Name .Name}}", "/web\t/web"),
            (r#"{{"a\x41\u00e9\U0001F600\101\"\\"}}|{{print "\a\b\f\r\v"}}"#, "aAé😀A\"\\|\u{7}\u{8}\u{c}\r\u{b}"),
            (r"{{'a'}} {{'\n'}} {{'\x41'}} {{'\''}} {{'é'}}", "97 10 65 39 233"),
            ("{{0x10}} {{-0x10}} {{0b101}} {{0o17}} {{017}} {{1_000}} {{+3}}", "16 -16 5 15 15 1000 3"),
            ("{{1.0}} {{1e3}} {{1.5e-3}} {{.5}} {{1e21}} {{1e-7}} {{2.5e+2}}", "1 1000 0.0015 0.5 1e+21 1e-07 250"),
            ("{{index .Name 0}} {{index .List 0}}", "47 a"),
            ("{{with $x := .Name}}{{$x}}{{.}}{{end}}{{if $y := .Empty}}{{else}}<{{$y}}>{{end}}", "/web/web<>"),
            ("{{with .Empty}}x{{else with .Name}}{{.}}{{else}}y{{end}}", "/web"),
            ("{{$x := 1}}{{if .On}}{{$x = 2}}{{end}}{{range .List}}{{$x = .}}{{end}}{{$x}}", "b"),
            ("{{`raw`}}{{\"q\\\"\"}}{{println .Count}}", "rawq\"3\n"),
            ("{{$.State.Pid}}{{range .List}}{{$.Count}}{{end}}", "733"),
            ("no action", "no action"),
            ("{{.Label \"com.example.team\"}}|{{.Label \"list\"}}|{{.Label \"none\"}}|", "red|a,b||"),
            ("{{print 1 \"a\" 2 3}} {{println \"a\" 2 3}}", "1a2 3 a 2 3\n"),
            ("{{split .Name \"\"}}", "[/ w e b]"),
            ("{{printf \"%5d|%-5d|%05d|%+d\" 42 42 42 42}}", "   42|42   |00042|+42"),
            ("{{printf \"%8s|%-8s|%.2s|%q\" .Name .Name .Name .Name}}", "    /web|/web    |/w|\"/web\""),
            ("{{printf \"%x %X %o %b %#x %c %U\" 255 255 8 5 255 65 65}}", "ff FF 10 101 0xff A U+0041"),
            ("{{printf \"%.2f %6.1f %e\" 3.14159 2.5 1500.0}}", "3.14    2.5 1.500000e+03"),
            ("{{printf \"%x %t %v\" .Name .On .List}}", "2f776562 true [a b]"),
            ("{{printf \"%T %T %T\" .Name .Count .On}}", "string int bool"),
            ("{{printf \"%d %s\" .Name 5}}", "%!d(string=/web) %!s(int=5)"),
            ("{{printf \"%s\"}} {{printf \"x\" 1}} {{printf \"100%%\"}}", "%!s(MISSING) x%!(EXTRA int=1) 100%"),
            ("{{define \"row\"}}<{{.}}>{{end}}{{range .List}}{{template \"row\" .}}{{end}}", "<a><b>"),
            ("{{block \"name\" .State}}{{.Pid}} {{$.Status}}{{end}}", "7 running"),
            ("{{template \"none\"}}{{define \"none\"}}{{.}}{{end}}", "<no value>"),
            ("{{html \"<a b='c'>&\"}} {{urlquery \"a b&c\"}}", "&lt;a b=&#39;c&#39;&gt;&amp; a+b%26c"),
            ("{{js \"it's <b>\"}}", "it\\'s \\u003Cb\\u003E"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn a_wrong_template_is_an_error_and_never_a_panic() {
        for template in [
            "{{.Missing}}",
            "{{.State.Missing}}",
            "{{.Name.Sub}}",
            "{{",
            "{{}}",
            "{{.Name",
            "{{if .On}}",
            "{{end}}",
            "{{else}}",
            "{{nothing .Name}}",
            "{{index .List 9}}",
            "{{index .List}}",
            "{{$x}}",
            "{{.Name | }}",
            "{{range}}",
            "{{join .Name}}",
            "{{\"open}}",
            "{{(.Name}}",
            "{{.Name)}}",
            "{{slice .Name 9}}",
            "{{break}}",
            "{{len .Count}}",
            "{{range .Count}}{{end}}",
            "{{1 2}}",
            "{{if}}x{{end}}",
            "{{lt .Name 3}}",
            "{{.Name .Name}}",
            "{{template \"unknown\"}}",
            "{{template}}",
            "{{define \"open\"}}",
            "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}",
            "{{if .On}}{{define \"x\"}}{{end}}{{end}}",
            "{{$x = 1}}",
            "{{if .On}}{{$x := 1}}{{end}}{{$x}}",
            "{{\"a\nb\"}}",
            r#"{{"\q"}}"#,
            r#"{{"\x4"}}"#,
            r#"{{"\'"}}"#,
            "{{''}}",
            "{{'ab'}}",
            "{{'a}}",
            "{{0xg}}",
            "{{1.2.3}}",
            "{{99999999999999999999}}",
            "{{1e400}}",
            "{{index .Name 9}}",
        ] {
            assert!(filled(template).is_err(), "{template}: {:?}", filled(template));
        }
        // Deep nesting ends in an error, not in an overflow of the stack.
        assert!(filled(&format!("{{{{{}.Name{}}}}}", "(".repeat(10_000), ")".repeat(10_000))).is_err());
        assert!(filled(&format!("{}{}", "{{if .On}}".repeat(10_000), "{{end}}".repeat(10_000))).is_err());
    }

    #[test]
    fn a_table_has_the_titles_of_its_fields() {
        let titles = [("ID", "CONTAINER ID"), ("Names", "NAMES")];
        let rows = [json!({"ID": "4f3a", "Names": "web"})];
        let printed = |format: &str| {
            let format = OutputFormat::parse(format, Some("id: {{.ID}}\n")).unwrap();
            format.rows(&titles, &["ID", "Names"], &rows).unwrap()
        };
        assert_eq!(printed("table"), "CONTAINER ID   NAMES\n4f3a           web\n");
        assert_eq!(printed(r"table {{.Names}}\t{{.ID}}"), "NAMES     CONTAINER ID\nweb       4f3a\n");
        assert_eq!(printed("{{.Names}}"), "web\n");
        assert_eq!(printed("json"), "{\"ID\":\"4f3a\",\"Names\":\"web\"}\n");
        assert_eq!(printed(r"{{.Names}}\t{{.ID}}\n"), "web\t4f3a\n\n");
        assert_eq!(printed("raw"), "id: 4f3a\n\n");
        let missing = OutputFormat::parse("{{.Missing}}", None).unwrap();
        assert!(missing.rows(&titles, &[], &rows).is_err());
        // Functions that change a value leave its title as it is. Only `pad` changes it too.
        for (column, title) in [
            ("lower .Names", "NAMES"),
            ("title .Names", "NAMES"),
            ("truncate .ID 2", "CONTAINER ID"),
            ("json .Names", "NAMES"),
            ("join (split .Names \"e\") \"-\"", "NAMES"),
            ("pad .Names 1 0", " NAMES"),
        ] {
            let printed = printed(&format!("table {{{{{column}}}}}"));
            assert_eq!(printed.lines().next(), Some(title), "{column}");
        }
        // A description is given to Go as it is.
        let OutputFormat::Lines(described) = OutputFormat::parse_described(r"{{.ID}}\t").unwrap() else {
            panic!()
        };
        assert_eq!(described.fill(&rows[0]).as_deref(), Ok(r"4f3a\t"));
    }
}
