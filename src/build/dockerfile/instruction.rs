//! The types of the instructions.
//!
//! All strings are as they were written, with their quotes and variables, except those of the exec form (a JSON list).
//! `words` expands them.

use std::time::Duration;

use super::place::Span;

/// An instruction after `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    /// `RUN`: a command that changes files.
    Run(RunCommand),
    /// `COPY`: files of the context, of a stage or of an image.
    Copy(CopyFiles),
    /// `ADD`: as `COPY`, and archives and URLs.
    Add(CopyFiles),
    /// `CMD`: the default command. An empty list is possible: it removes the one of the base image.
    Cmd(CommandForm),
    /// `ENTRYPOINT`, as `CMD`.
    Entrypoint(CommandForm),
    /// `ENV`: environment variables.
    Env(Vec<Assignment>),
    /// `ARG`: variables of the build.
    Arg(Vec<Argument>),
    /// `LABEL`: metadata of the image.
    Label(Vec<Assignment>),
    /// `EXPOSE`: `80`, `80/tcp`, `8000-8010`. A variable can hold several.
    Expose(Vec<String>),
    /// `VOLUME`: directories.
    Volume(Vec<String>),
    /// `USER`: `user[:group]`.
    User(String),
    /// `WORKDIR`: a directory, relative to the one before.
    Workdir(String),
    /// `SHELL`: what the shell form is executed with.
    Shell(Vec<String>),
    /// `STOPSIGNAL`: the signal of `stop`.
    StopSignal(String),
    /// `HEALTHCHECK`: how to find out whether the container works.
    Healthcheck(Healthcheck),
    /// `ONBUILD`: an instruction for images that are built from this one.
    Onbuild(Trigger),
    /// `MAINTAINER`: the author of the image.
    Maintainer(String),
}

impl Instruction {
    /// The name in capitals: `RUN`.
    pub fn name(&self) -> &'static str {
        match self {
            Instruction::Run(_) => "RUN",
            Instruction::Copy(_) => "COPY",
            Instruction::Add(_) => "ADD",
            Instruction::Cmd(_) => "CMD",
            Instruction::Entrypoint(_) => "ENTRYPOINT",
            Instruction::Env(_) => "ENV",
            Instruction::Arg(_) => "ARG",
            Instruction::Label(_) => "LABEL",
            Instruction::Expose(_) => "EXPOSE",
            Instruction::Volume(_) => "VOLUME",
            Instruction::User(_) => "USER",
            Instruction::Workdir(_) => "WORKDIR",
            Instruction::Shell(_) => "SHELL",
            Instruction::StopSignal(_) => "STOPSIGNAL",
            Instruction::Healthcheck(_) => "HEALTHCHECK",
            Instruction::Onbuild(_) => "ONBUILD",
            Instruction::Maintainer(_) => "MAINTAINER",
        }
    }
}

/// `FROM [--platform=P] IMAGE [AS NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromImage {
    /// An image, an earlier stage or `scratch`. It can have variables.
    pub image: String,
    /// The name of the stage, in small letters.
    pub stage: Option<String>,
    /// `--platform`. It can have variables.
    pub platform: Option<String>,
}

/// How a command is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandForm {
    /// `RUN make all`: a line for the shell.
    Shell(String),
    /// `RUN ["make", "all"]`: the arguments. It has no variables.
    Exec(Vec<String>),
}

/// `RUN [--mount=...] [--network=...] [--security=...] COMMAND`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunCommand {
    /// The command. `script` has it with its here-documents.
    pub form: CommandForm,
    /// `--mount`, each as it was written. `mount` reads it.
    pub mounts: Vec<String>,
    /// `--network`.
    pub network: Option<RunNetwork>,
    /// `--security`.
    pub security: Option<RunSecurity>,
    /// The here-documents, in their order.
    pub heredocs: Vec<Heredoc>,
}

/// What `RUN` executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunScript<'a> {
    /// A line, or several, for the shell: its last argument.
    Shell(String),
    /// A program with its arguments.
    Exec(&'a [String]),
    /// A here-document that begins with `#!`: a file that is executed.
    File {
        /// The name of the file.
        name: &'a str,
        /// Its content.
        content: String,
    },
}

/// `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunNetwork {
    /// The network of the build.
    Default,
    /// No network.
    None,
    /// The network of the host.
    Host,
}

/// `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSecurity {
    /// The usual protections.
    Sandbox,
    /// Without them.
    Insecure,
}

/// `COPY` and `ADD`: `[FLAGS] SOURCE... DESTINATION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyFiles {
    /// The sources without the here-documents: paths with patterns, and for `ADD` also URLs.
    pub sources: Vec<String>,
    /// The here-documents among the sources: each is a file with its name.
    pub heredocs: Vec<Heredoc>,
    /// The last word.
    pub destination: String,
    /// `--from`: an earlier stage, its number, or an image. Only `COPY` has it.
    pub from: Option<String>,
    /// `--chown`: `user[:group]`.
    pub chown: Option<String>,
    /// `--chmod`: an octal number, or changes such as `u=rwX`.
    pub chmod: Option<String>,
    /// `--link`: the layer does not depend on the ones before.
    pub link: bool,
    /// `--exclude`: patterns of files that are left out.
    pub exclude: Vec<String>,
    /// `--parents`: the parent directories of a source are kept. Only `COPY` has it.
    pub parents: bool,
    /// `--checksum` of a URL. Only `ADD` has it.
    pub checksum: Option<String>,
    /// `--keep-git-dir`. Only `ADD` has it. It is for git repositories, and has no effect on other sources, as in BuildKit.
    pub keep_git_dir: bool,
    /// `--unpack`: whether archives are unpacked. Only `ADD` has it.
    pub unpack: Option<bool>,
}

/// `ENV` and `LABEL`: a name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
    /// Whether it was written as `NAME value`, without `=`. Docker's text of the history is then the same.
    pub is_old_form: bool,
}

/// `ARG`: a name, and perhaps a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// The value without `--build-arg`.
    pub default: Option<String>,
}

/// `HEALTHCHECK`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Healthcheck {
    /// `NONE`: the one of the base image is removed.
    None,
    /// `CMD`: a command that is executed again and again.
    Command {
        /// The command.
        form: CommandForm,
        /// `--interval`.
        interval: Option<Duration>,
        /// `--timeout`.
        timeout: Option<Duration>,
        /// `--start-period`.
        start_period: Option<Duration>,
        /// `--start-interval`.
        start_interval: Option<Duration>,
        /// `--retries`.
        retries: Option<u32>,
    },
}

/// `ONBUILD INSTRUCTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The instruction.
    pub instruction: Box<Instruction>,
    /// Its text with its here-documents, as the image's config has it..
    pub text: String,
}

/// A here-document: `<<NAME`, its lines, and `NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The name, without quotes.
    pub name: String,
    /// The lines between, with a newline after each. Tabs are removed if it is `<<-`.
    pub content: String,
    /// The lines between as they were written.
    pub original: String,
    /// Whether variables in it are expanded: no part of the name is in quotes. A shell does it for `RUN`.
    pub expand: bool,
    /// Whether it is `<<-`.
    pub strip_tabs: bool,
    /// The file descriptor of `3<<NAME`.
    pub descriptor: Option<u32>,
    /// The place of the lines between.
    pub span: Span,
}
