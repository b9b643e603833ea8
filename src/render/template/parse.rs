//! Reads a template: its text, and the actions between `{{` and `}}`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::literal;

/// The maximum depth of blocks and parentheses.
const MAX_DEPTH: usize = 64;

/// A part of a template.
#[derive(Debug)]
pub(super) enum TemplateNode {
    /// Text that is printed as it is.
    Text(String),
    /// A value that is printed.
    Print(Pipe),
    /// A new variable: `$x := .Name`.
    Declare(String, Pipe),
    /// Another value for a variable: `$x = .Name`.
    Assign(String, Pipe),
    /// The first branch whose condition is true, or else the other.
    If(Vec<Branch>, Vec<TemplateNode>),
    /// The body for each element; the names of the variables for its index and for itself.
    Range([Option<String>; 2], Pipe, Vec<TemplateNode>, Vec<TemplateNode>),
    /// The template with this name, with the value of the pipe as its dot.
    Template(String, Option<Pipe>),
    /// Ends the innermost `range`.
    Break,
    /// Goes on with its next element.
    Continue,
}

/// A branch of `if` or `with`.
#[derive(Debug)]
pub(super) struct Branch {
    /// The variable that gets the value of the condition: `{{if $x := .Name}}`.
    pub(super) name: Option<String>,
    /// The condition.
    pub(super) condition: Pipe,
    /// Whether its value is the dot of the body, as in `with`.
    pub(super) sets_dot: bool,
    /// What is printed if it is true.
    pub(super) body: Vec<TemplateNode>,
}

/// Commands with `|` between them: the value of each is the last argument of the next.
pub(super) type Pipe = Vec<Vec<Operand>>;

/// A word of a command.
#[derive(Debug)]
pub(super) enum Operand {
    /// The dot, and fields of it.
    Dot(Vec<String>),
    /// A variable, and fields of it. `$` alone is the whole value.
    Variable(String, Vec<String>),
    /// A string, a number, `true`, `false`, `nil`.
    Literal(Value),
    /// The name of a function.
    Function(String),
    /// A pipe in parentheses, and fields of its value.
    Group(Pipe, Vec<String>),
}

/// The templates that a template defines, by name.
pub(super) type Definitions = BTreeMap<String, Vec<TemplateNode>>;

/// The rest of a template, and what was defined before it.
struct Rest {
    parts: std::vec::IntoIter<TemplatePart>,
    definitions: Definitions,
}

/// Reads a template. Returns its nodes, and the templates that it defines. `read_text` reads the text outside actions.
pub(super) fn parse(
    template: &str,
    read_text: impl Fn(&str) -> String,
) -> Result<(Vec<TemplateNode>, Definitions), String> {
    let mut rest = Rest { parts: parts(template, read_text)?.into_iter(), definitions: Definitions::new() };
    let (nodes, end) = block(&mut rest, 0, 0)?;
    match end {
        None => Ok((nodes, rest.definitions)),
        Some(word) => Err(format!("unexpected {{{{{}}}}}", word.join(" "))),
    }
}

/// Text, or the words of an action.
enum TemplatePart {
    Text(String),
    Action(Vec<String>),
}

fn parts(template: &str, read_text: impl Fn(&str) -> String) -> Result<Vec<TemplatePart>, String> {
    let mut all = Vec::new();
    let (mut rest, mut trims) = (template, false);
    while let Some(at) = rest.find("{{") {
        let text = read_text(&rest[..at]);
        let mut text = text.as_str();
        rest = &rest[at + 2..];
        if std::mem::take(&mut trims) {
            text = text.trim_start();
        }
        if rest.starts_with("- ") {
            text = text.trim_end();
            rest = &rest[1..];
        }
        all.push(TemplatePart::Text(text.to_owned()));
        if let Some(comment) = rest.trim_start().strip_prefix("/*") {
            let (_, after) = comment.split_once("*/").ok_or("unclosed comment")?;
            let after = after.trim_start();
            trims = after.starts_with('-');
            rest = after
                .trim_start_matches('-')
                .strip_prefix("}}")
                .ok_or("comment ends before closing delimiter")?;
            continue;
        }
        let (words, after) = words(rest)?;
        rest = after;
        let is_trimmed = words.last().is_some_and(|word| word == "-");
        trims = is_trimmed;
        all.push(TemplatePart::Action(words[..words.len() - usize::from(is_trimmed)].to_vec()));
    }
    let text = read_text(rest);
    all.push(TemplatePart::Text(if trims { text.trim_start() } else { &text }.to_owned()));
    Ok(all)
}

/// The words of an action up to its end, and what follows. A string keeps its quotes.
fn words(text: &str) -> Result<(Vec<String>, &str), String> {
    let mut words = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Err("unclosed action".to_owned()) };
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((words, after));
        }
        let length = match first {
            '"' | '\'' => literal::quoted_length(rest, first)?,
            '`' => rest[1..].find('`').ok_or("unterminated raw quoted string")? + 2,
            ':' if rest.starts_with(":=") => 2,
            '(' | ')' | '|' | ',' | '=' => 1,
            '-' if rest.starts_with("-}}") => 1,
            '0'..='9' | '-' | '+' => literal::number_length(rest),
            '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => literal::number_length(rest),
            '.' | '$' => 1 + name_length(&rest[1..]),
            _ if first.is_alphanumeric() || first == '_' => name_length(rest),
            _ => return Err(format!("unexpected {first:?} in command")),
        };
        words.push(rest[..length].to_owned());
        rest = &rest[length..];
    }
}

fn name_length(text: &str) -> usize {
    let is_in = |character: char| character.is_alphanumeric() || "_.".contains(character);
    text.find(|character| !is_in(character)).unwrap_or(text.len())
}

/// The nodes up to `end` or `else` of a block, which is returned. `ranges` is the number of `range` around it.
fn block(
    rest: &mut Rest,
    depth: usize,
    ranges: usize,
) -> Result<(Vec<TemplateNode>, Option<Vec<String>>), String> {
    if depth > MAX_DEPTH {
        return Err("the template has too many nested blocks".to_owned());
    }
    let mut nodes = Vec::new();
    while let Some(part) = rest.parts.next() {
        let words = match part {
            TemplatePart::Text(text) => {
                nodes.push(TemplateNode::Text(text));
                continue;
            }
            TemplatePart::Action(words) => words,
        };
        let first = words.first().map(String::as_str).unwrap_or_default();
        nodes.push(match first {
            "end" | "else" => return Ok((nodes, Some(words))),
            "break" | "continue" if ranges == 0 => {
                return Err(format!("{{{{{first}}}}} outside {{{{range}}}}"));
            }
            "break" => TemplateNode::Break,
            "continue" => TemplateNode::Continue,
            "if" | "with" => branches(rest, &words, depth, ranges)?,
            "range" => {
                let (names, value) = variables(&words[1..])?;
                let (body, other) = body(rest, depth, ranges + 1)?;
                TemplateNode::Range(names, pipe(value)?, body, other)
            }
            "define" if depth > 0 => return Err("unexpected {{define}}".to_owned()),
            "define" => {
                let (name, none) = named(&words)?;
                if !none.is_empty() {
                    return Err("unexpected value in define clause".to_owned());
                }
                define(rest, name, depth)?;
                continue;
            }
            "block" => {
                let (name, value) = named(&words)?;
                let value = pipe(value)?;
                define(rest, name.clone(), depth)?;
                TemplateNode::Template(name, Some(value))
            }
            "template" => {
                let (name, value) = named(&words)?;
                TemplateNode::Template(name, if value.is_empty() { None } else { Some(pipe(value)?) })
            }
            name if name.starts_with('$') && words.get(1).is_some_and(|word| word == ":=") => {
                TemplateNode::Declare(name[1..].to_owned(), pipe(&words[2..])?)
            }
            name if name.starts_with('$') && words.get(1).is_some_and(|word| word == "=") => {
                TemplateNode::Assign(name[1..].to_owned(), pipe(&words[2..])?)
            }
            _ => TemplateNode::Print(pipe(&words)?),
        });
    }
    if depth > 0 { Err("unexpected EOF".to_owned()) } else { Ok((nodes, None)) }
}

/// The name of a template in an action, and the words after it.
fn named(words: &[String]) -> Result<(String, &[String]), String> {
    match words.get(1).map(|word| operand(word)).transpose()? {
        Some(Operand::Literal(Value::String(name))) => Ok((name, &words[2..])),
        _ => Err(format!("missing name in {} clause", words[0])),
    }
}

/// Reads the body of a template with a name, up to its end.
fn define(rest: &mut Rest, name: String, depth: usize) -> Result<(), String> {
    let (body, end) = block(rest, depth + 1, 0)?;
    if end.is_some_and(|words| words[0] == "else") {
        return Err("unexpected {{else}}".to_owned());
    }
    rest.definitions.insert(name, body);
    Ok(())
}

/// The body of a block, and what is after `else`.
fn body(
    rest: &mut Rest,
    depth: usize,
    ranges: usize,
) -> Result<(Vec<TemplateNode>, Vec<TemplateNode>), String> {
    let (body, end) = block(rest, depth + 1, ranges)?;
    if end.is_some_and(|words| words[0] == "else") {
        let (other, end) = block(rest, depth + 1, ranges)?;
        return match end {
            Some(words) if words[0] == "else" => Err("unexpected {{else}}".to_owned()),
            _ => Ok((body, other)),
        };
    }
    Ok((body, Vec::new()))
}

/// The branches of an `if` or `with`, with each `else if` and `else with`. `words` are those of its first action.
fn branches(rest: &mut Rest, words: &[String], depth: usize, ranges: usize) -> Result<TemplateNode, String> {
    let mut all = Vec::new();
    let mut words = words.to_vec();
    loop {
        let sets_dot = words[0] == "with";
        let (name, condition) = match &words[1..] {
            [name, sign, value @ ..] if name.starts_with('$') && sign == ":=" => {
                (Some(name[1..].to_owned()), value)
            }
            value => (None, value),
        };
        let condition = pipe(condition)?;
        let (body, end) = block(rest, depth + 1, ranges)?;
        all.push(Branch { name, condition, sets_dot, body });
        let end = end.unwrap_or_default();
        match &end.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["else", "if" | "with", ..] => words = end[1..].to_vec(),
            ["else"] => {
                let (other, end) = block(rest, depth + 1, ranges)?;
                return match end {
                    Some(words) if words[0] == "else" => Err("unexpected {{else}}".to_owned()),
                    _ => Ok(TemplateNode::If(all, other)),
                };
            }
            _ => return Ok(TemplateNode::If(all, Vec::new())),
        }
    }
}

/// The variables of a `range`, and the words of its value.
fn variables(words: &[String]) -> Result<([Option<String>; 2], &[String]), String> {
    let Some(at) = words.iter().position(|word| word == ":=") else { return Ok(([None, None], words)) };
    let name = |word: &String| {
        word.strip_prefix('$').map(str::to_owned).ok_or(format!("unexpected {word} in range"))
    };
    let names = match &words[..at] {
        [element] => [None, Some(name(element)?)],
        [index, comma, element] if comma == "," => [Some(name(index)?), Some(name(element)?)],
        _ => return Err("range can only initialize variables".to_owned()),
    };
    Ok((names, &words[at + 1..]))
}

fn pipe(words: &[String]) -> Result<Pipe, String> {
    let mut rest = words;
    let pipe = commands(&mut rest, 0)?;
    match rest.first() {
        None => Ok(pipe),
        Some(word) => Err(format!("unexpected {word:?} in command")),
    }
}

/// The commands up to the end, or to a closing parenthesis, which stays.
fn commands(rest: &mut &[String], depth: usize) -> Result<Pipe, String> {
    if depth > MAX_DEPTH {
        return Err("the template has too many parentheses".to_owned());
    }
    let mut pipe: Pipe = vec![Vec::new()];
    while let Some((word, after)) = rest.split_first() {
        match word.as_str() {
            ")" => break,
            "|" => {
                *rest = after;
                pipe.push(Vec::new());
                continue;
            }
            "(" => {
                *rest = after;
                let group = commands(rest, depth + 1)?;
                match rest.split_first() {
                    Some((close, after)) if close == ")" => *rest = after,
                    _ => return Err("unclosed left paren".to_owned()),
                }
                let fields = match rest.split_first() {
                    // `(index . 0).HostPort`
                    Some((fields, after)) if fields.starts_with('.') && fields.len() > 1 => {
                        *rest = after;
                        fields_of(&fields[1..])?
                    }
                    _ => Vec::new(),
                };
                last(&mut pipe).push(Operand::Group(group, fields));
            }
            _ => {
                *rest = after;
                last(&mut pipe).push(operand(word)?);
            }
        }
    }
    match pipe.iter().any(Vec::is_empty) {
        true => Err("missing value for command".to_owned()),
        false => Ok(pipe),
    }
}

fn last(pipe: &mut Pipe) -> &mut Vec<Operand> {
    if pipe.is_empty() {
        pipe.push(Vec::new());
    }
    let at = pipe.len() - 1;
    &mut pipe[at]
}

fn operand(word: &str) -> Result<Operand, String> {
    let first = word.chars().next().unwrap_or_default();
    let wrong = || match first {
        '"' => "invalid syntax".to_owned(),
        '\'' => format!("malformed character constant: {word}"),
        _ => format!("bad number syntax: {word:?}"),
    };
    Ok(match first {
        '.' if word.len() == 1 => Operand::Dot(Vec::new()),
        '.' if word[1..].starts_with(|next: char| next.is_ascii_digit()) => {
            Operand::Literal(literal::number(word).ok_or_else(wrong)?)
        }
        '.' => Operand::Dot(fields_of(&word[1..])?),
        '$' => {
            let (name, fields) = word[1..].split_once('.').unwrap_or((&word[1..], ""));
            let fields = if fields.is_empty() { Vec::new() } else { fields_of(fields)? };
            Operand::Variable(name.to_owned(), fields)
        }
        '"' => Operand::Literal(literal::string(word).ok_or_else(wrong)?.into()),
        '\'' => Operand::Literal(literal::rune(word).ok_or_else(wrong)?),
        '`' => Operand::Literal(Value::from(word.trim_matches('`'))),
        '-' | '+' | '0'..='9' => Operand::Literal(literal::number(word).ok_or_else(wrong)?),
        _ => match word {
            "true" | "false" => Operand::Literal(Value::from(word == "true")),
            "nil" => Operand::Literal(Value::Null),
            name if name.chars().all(|character| character.is_alphanumeric() || character == '_') => {
                Operand::Function(name.to_owned())
            }
            _ => return Err(format!("unexpected {word:?} in command")),
        },
    })
}

fn fields_of(words: &str) -> Result<Vec<String>, String> {
    let fields: Vec<String> = words.split('.').map(str::to_owned).collect();
    match fields.iter().any(String::is_empty) {
        true => Err(format!("bad field .{words}")),
        false => Ok(fields),
    }
}
