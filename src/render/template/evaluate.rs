//! Fills a template with a value.

use serde_json::Value;

use super::parse::{Definitions, Operand, Pipe, TemplateNode};
use super::{function, zero};

/// The maximum depth of templates that use one another.
const MAX_DEPTH: usize = 100;

/// The values that a template has names for.
pub(super) struct Scope<'a> {
    whole: &'a Value,
    variables: Vec<(String, Value)>,
    definitions: &'a Definitions,
    /// How many templates are around this one.
    depth: usize,
}

/// What happens after a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterNode {
    Next,
    Break,
    Continue,
}

impl<'a> Scope<'a> {
    pub(super) fn new(whole: &'a Value, definitions: &'a Definitions) -> Scope<'a> {
        Scope { whole, variables: Vec::new(), definitions, depth: 0 }
    }

    /// Prints nodes.
    pub(super) fn print(
        &mut self,
        nodes: &[TemplateNode],
        dot: &Value,
        out: &mut String,
    ) -> Result<AfterNode, String> {
        let outer = self.variables.len();
        let flow = self.print_in(nodes, dot, out);
        self.variables.truncate(outer);
        flow
    }

    fn print_in(
        &mut self,
        nodes: &[TemplateNode],
        dot: &Value,
        out: &mut String,
    ) -> Result<AfterNode, String> {
        for node in nodes {
            let flow = match node {
                TemplateNode::Text(text) => {
                    out.push_str(text);
                    AfterNode::Next
                }
                TemplateNode::Print(pipe) => {
                    let value = self.value(pipe, dot)?;
                    let null = last_field(pipe).filter(|_| value.is_null()).and_then(zero::printed_null);
                    out.push_str(&null.map_or_else(|| function::printed(&value), str::to_owned));
                    AfterNode::Next
                }
                TemplateNode::Set(name, pipe) => {
                    let value = self.value(pipe, dot)?;
                    self.variables.push((name.clone(), value));
                    AfterNode::Next
                }
                TemplateNode::If(branches, other) => {
                    let mut body = other;
                    for (condition, branch) in branches {
                        if function::is_true(&self.value(condition, dot)?) {
                            body = branch;
                            break;
                        }
                    }
                    self.print(body, dot, out)?
                }
                TemplateNode::With(pipe, body, other) => {
                    let value = self.value(pipe, dot)?;
                    match function::is_true(&value) {
                        true => self.print(body, &value, out)?,
                        false => self.print(other, dot, out)?,
                    }
                }
                TemplateNode::Range(names, pipe, body, other) => {
                    let elements = elements(&self.value(pipe, dot)?)?;
                    if elements.is_empty() {
                        self.print(other, dot, out)?
                    } else {
                        self.each(names, &elements, body, out)?;
                        AfterNode::Next
                    }
                }
                TemplateNode::Template(name, pipe) => {
                    let value = pipe.as_ref().map_or(Ok(Value::Null), |pipe| self.value(pipe, dot))?;
                    self.print_named(name, &value, out)?;
                    AfterNode::Next
                }
                TemplateNode::Break => AfterNode::Break,
                TemplateNode::Continue => AfterNode::Continue,
            };
            if flow != AfterNode::Next {
                return Ok(flow);
            }
        }
        Ok(AfterNode::Next)
    }

    /// Prints the template with this name. It has no variables of the one around it.
    fn print_named(&self, name: &str, dot: &Value, out: &mut String) -> Result<(), String> {
        let nodes = self.definitions.get(name).ok_or_else(|| format!("template {name:?} not defined"))?;
        if self.depth == MAX_DEPTH {
            return Err(format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let mut inner = Scope { depth: self.depth + 1, ..Scope::new(dot, self.definitions) };
        inner.print(nodes, dot, out).map(|_| ())
    }

    fn each(
        &mut self,
        names: &[Option<String>; 2],
        elements: &[(Value, Value)],
        body: &[TemplateNode],
        out: &mut String,
    ) -> Result<(), String> {
        for (index, element) in elements {
            let outer = self.variables.len();
            for (name, value) in names.iter().zip([index, element]) {
                self.variables.extend(name.iter().map(|name| (name.clone(), value.clone())));
            }
            let flow = self.print(body, element, out);
            self.variables.truncate(outer);
            if flow? == AfterNode::Break {
                break;
            }
        }
        Ok(())
    }

    fn value(&self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut last = None;
        for command in pipe {
            last = Some(self.command(command, dot, last)?);
        }
        Ok(last.unwrap_or(Value::Null))
    }

    /// The value of a command. `last` is that of the command before it.
    fn command(&self, words: &[Operand], dot: &Value, last: Option<Value>) -> Result<Value, String> {
        let Some((first, rest)) = words.split_first() else { return Ok(Value::Null) };
        let mut arguments = rest.iter().map(|word| self.operand(word, dot)).collect::<Result<Vec<_>, _>>()?;
        arguments.extend(last);
        match first {
            Operand::Function(name) => function::call(name, &arguments),
            // The one method of Docker's rows.
            Operand::Dot(fields) if fields[..] == ["Label"] => match &arguments[..] {
                [Value::String(name)] => Ok(label(dot, name).into()),
                _ => Err("wrong number or type of args for Label".to_owned()),
            },
            _ if arguments.is_empty() => self.operand(first, dot),
            _ => Err("can't give argument to non-function".to_owned()),
        }
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        match operand {
            Operand::Dot(fields) => field(dot, fields),
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Function(name) => function::call(name, &[]),
            Operand::Group(pipe, fields) => field(&self.value(pipe, dot)?, fields),
            Operand::Variable(name, fields) if name.is_empty() => field(self.whole, fields),
            Operand::Variable(name, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = known.ok_or_else(|| format!("undefined variable \"${name}\""))?;
                field(value, fields)
            }
        }
    }
}

/// The value of a label of a row, whose labels are written `a=1,b=2`. A comma before a part without `=` belongs to the value. The
/// row of titles has no labels: the title is the end of the name, as in Docker.
fn label(row: &Value, name: &str) -> String {
    let all = row["Labels"].as_str().unwrap_or_default();
    if !all.is_empty() && !all.contains('=') {
        return name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ");
    }
    let mut parts = all.split(',').skip_while(|part| part.split_once('=').is_none_or(|(own, _)| own != name));
    let first = parts.next().and_then(|part| part.split_once('=')).map(|(_, value)| value);
    first.into_iter().chain(parts.take_while(|part| !part.contains('='))).collect::<Vec<_>>().join(",")
}

/// The name of the field that a pipe consists of.
fn last_field(pipe: &Pipe) -> Option<&str> {
    match &pipe[..] {
        [command] => match &command[..] {
            [Operand::Dot(fields) | Operand::Variable(_, fields)] => fields.last().map(String::as_str),
            _ => None,
        },
        _ => None,
    }
}

/// The field of a field of a value.
fn field(value: &Value, fields: &[String]) -> Result<Value, String> {
    let mut at = value;
    for (index, name) in fields.iter().enumerate() {
        let above = index.checked_sub(1).map(|above| fields[above].as_str());
        let path = || fields.join(".");
        at = match at {
            Value::Object(map) => {
                // Docker takes the name of Go's field too, where the JSON has another case: `.ID` for `Id`, `.Time` for `time`.
                let of_go = || {
                    let is_field = name.starts_with(char::is_uppercase);
                    map.iter()
                        .find(|(key, _)| is_field && key.eq_ignore_ascii_case(name))
                        .map(|(_, value)| value)
                };
                match (map.get(name).or_else(of_go), zero::of_missing(above, map, name)) {
                    (Some(found), _) => found,
                    (None, Some(zero)) if index + 1 == fields.len() => return Ok(zero),
                    (None, Some(_)) => &Value::Null,
                    (None, None) => {
                        return Err(format!("at <.{}>: map has no entry for key {name:?}", path()));
                    }
                }
            }
            Value::Null if above == Some("Labels") => &Value::Null,
            Value::Null => return Err(format!("at <.{}>: nil pointer evaluating .{name}", path())),
            _ => return Err(format!("at <.{}>: can't evaluate field {name}", path())),
        };
    }
    Ok(at.clone())
}

/// The elements of a value, each with its index or key. A map is in the order of its keys.
fn elements(value: &Value) -> Result<Vec<(Value, Value)>, String> {
    match value {
        Value::Array(all) => {
            Ok(all.iter().enumerate().map(|(at, one)| (Value::from(at), one.clone())).collect())
        }
        Value::Object(map) => {
            let mut all: Vec<(Value, Value)> =
                map.iter().map(|(key, one)| (Value::from(key.as_str()), one.clone())).collect();
            all.sort_by(|one, other| one.0.as_str().cmp(&other.0.as_str()));
            Ok(all)
        }
        Value::Null => Ok(Vec::new()),
        other => Err(format!("range can't iterate over {}", function::printed(other))),
    }
}
