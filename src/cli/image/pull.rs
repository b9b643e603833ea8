//! `sandbox pull`: an image from a registry.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use serde_json::{Value, json};

use super::progress::{ProgressKind, PullProgress};
use super::{as_docker, in_use, note as note_event, own_maps, print_losses};
use crate::cli::explain::ExplainArg;
use crate::cli::kept::{format_of, unfilled};
use crate::container::message::{SentError, packet_of};
use crate::error::{Error, ExitKind, Result};
use crate::image::manifest::Platform;
use crate::image::reference::Reference;
use crate::image::registry::pull::{PullRequest, PulledImage, pull};
use crate::image::registry::{Login, RegistryOptions, resolve, tags::tags};
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, text, text_with};
use crate::value::units::Length;

/// The flags of `pull`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PullArgs {
    /// The image: [REGISTRY/]REPOSITORY[:TAG][@DIGEST]
    #[arg(value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
    /// Pull the images of all tags of the repository
    #[arg(long, short)]
    all_tags: bool,
    /// The platform of the image; the default is this machine's
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    /// Print only errors and the name of the image
    #[arg(long, short)]
    quiet: bool,
    /// Print the result in this form: json, or a template as '{{.Digest}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    explain: ExplainArg,
    /// Send an error to the command that has started this one, by the descriptor of standard input
    #[arg(long, hide = true)]
    report: bool,
}

/// The flags of all commands that speak to a registry. They are podman's, but for the time-out.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RegistryArgs {
    /// Whether to require TLS and check certificates; the default is what registries.conf says
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
        action = ArgAction::Set)]
    tls_verify: Option<bool>,
    /// The directory with certificates, instead of certs.d
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    /// The user and the password for the registry
    #[arg(long, value_name = "USER:PASSWORD", value_parser = read_login)]
    creds: Option<Login>,
    /// The file with credentials, instead of those of podman and Docker
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// How many further attempts to make
    #[arg(long, value_name = "COUNT", default_value = "3")]
    retry: u32,
    /// The time before the first further attempt; it doubles each time
    #[arg(long, value_name = "TIME", default_value = "1s")]
    retry_delay: Length,
    /// How long the registry may send nothing
    #[arg(long, value_name = "TIME", default_value = "30s")]
    timeout: Length,
}

impl RegistryArgs {
    pub(super) fn options(&self) -> RegistryOptions {
        let time = |length: Length| Duration::from_secs(length.0.into());
        RegistryOptions {
            tls_verify: self.tls_verify,
            timeout: time(self.timeout),
            retries: self.retry,
            retry_delay: time(self.retry_delay),
            login: self.creds.clone(),
            auth_file: self.authfile.clone(),
            certificates: self.cert_dir.clone(),
            note: crate::render::note,
        }
    }
}

fn read_login(written: &str) -> std::result::Result<Login, String> {
    let (user, password) = written.split_once(':').ok_or_else(|| text("image.pull.creds"))?;
    Ok(Login { user: user.to_owned(), password: password.to_owned() })
}

/// Pulls the image.
pub(crate) fn run(color: Color, args: &PullArgs) -> Result<u8> {
    let pulled = perform(color, args);
    match &pulled {
        // The other command prints it, so that there is one error.
        Err(error) if args.report && sent(error.clone()).is_ok() => Ok(error.kind.status()),
        _ => pulled,
    }
}

fn sent(error: Error) -> io::Result<()> {
    let status = SentError::from(error);
    File::from(io::stdin().as_fd().try_clone_to_owned()?).write_all(&packet_of(&status))
}

fn perform(color: Color, args: &PullArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let format = args.format.as_deref().map(format_of).transpose()?;
    let asked = resolve(&args.name).map_err(as_docker)?;
    let prints = !args.quiet && format.is_none();
    let say = |line: String| {
        if prints {
            render::out(&(line + "\n"))
        }
    };
    if args.all_tags {
        return pull_all(args, &asked, format.as_ref(), &say);
    }
    if asked.tag.is_none() && asked.digest.is_none() {
        say(text("image.pull.tag"));
    }
    let reference = asked.or_latest();
    let (pulled, shown) = pull_one(args, &reference, prints, &say)?;
    match format {
        Some(format) => print_results(&format, &[result(&pulled, &shown)])?,
        None => say_end(&shown, pulled.is_new, &whole_name(&pulled), &say),
    }
    Ok(0)
}

/// Pulls the images of all tags. The first error ends it: what was pulled before stays.
fn pull_all(
    args: &PullArgs,
    asked: &Reference,
    format: Option<&OutputFormat>,
    say: &dyn Fn(String),
) -> Result<u8> {
    if asked.tag.is_some() || asked.digest.is_some() {
        return Err(as_docker(Error::usage(text("image.pull.all"))));
    }
    let tags = tags(asked, &args.registry.options(), &args.explain.tell()).map_err(as_docker)?;
    if tags.is_empty() {
        let what = text_with("image.pull.none", &[("name", &asked.familiar_name())]);
        return Err(as_docker(Error::new(ExitKind::Refused, what)));
    }
    let (mut results, mut is_new) = (Vec::new(), false);
    for tag in tags {
        let reference = Reference { tag: Some(tag), ..asked.clone() };
        let (pulled, shown) = pull_one(args, &reference, !args.quiet && format.is_none(), say)?;
        is_new |= pulled.is_new;
        results.push(result(&pulled, &shown));
    }
    match format {
        Some(format) => print_results(format, &results)?,
        None => say_end(&asked.familiar_name(), is_new, &asked.name(), say),
    }
    Ok(0)
}

/// Pulls one image. Returns it with the name that Docker prints for it.
fn pull_one(
    args: &PullArgs,
    reference: &Reference,
    prints: bool,
    say: &dyn Fn(String),
) -> Result<(PulledImage, String)> {
    let by = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.clone().unwrap_or_default(),
    };
    say(text_with("image.pull.from", &[("by", &by), ("repository", &reference.repository)]));
    let pulled = fetch(args, reference, prints)?;
    if !args.quiet {
        print_losses(&pulled.counts);
        pulled.other_platform.iter().for_each(|other| {
            let values =
                [("platform", &*printed(other.to_string())), ("here", &Platform::here().to_string())];
            render::err(&(text_with("image.pull.platform", &values) + "\n"));
        });
    }
    let digest = pulled.digest.to_string();
    say(text_with("image.pull.digest", &[("digest", &digest)]));
    let shown = match reference.digest {
        // Docker repeats the name as it was asked for.
        Some(_) => format!("{}@{digest}", reference.familiar_name()),
        None => reference.familiar(),
    };
    Ok((pulled, shown))
}

/// The last lines of the output.
fn say_end(shown: &str, is_new: bool, whole: &str, say: &dyn Fn(String)) {
    let key = if is_new { "image.pull.new" } else { "image.pull.current" };
    say(text_with(key, &[("name", shown)]));
    render::out(&format!("{whole}\n"));
}

fn whole_name(pulled: &PulledImage) -> String {
    pulled.image.name.as_ref().map(Reference::to_string).unwrap_or_default()
}

/// The result, for programs.
fn result(pulled: &PulledImage, shown: &str) -> Value {
    json!({
        "Name": shown,
        "Reference": pulled.image.name.as_ref().map(Reference::to_string),
        "Digest": pulled.digest.to_string(),
        "ID": pulled.image.id.to_string(),
        "Status": if pulled.is_new { "downloaded" } else { "up to date" },
    })
}

fn print_results(format: &OutputFormat, results: &[Value]) -> Result<()> {
    let titles = [("Name", "NAME"), ("Digest", "DIGEST"), ("ID", "IMAGE ID"), ("Status", "STATUS")];
    let columns = ["Name", "Digest", "ID", "Status"];
    render::out(&format.rows(&titles, &columns, results).map_err(|why| unfilled(&why))?);
    Ok(())
}

fn fetch(args: &PullArgs, reference: &Reference, prints: bool) -> Result<PulledImage> {
    let (store, note) = ImageStore::make().map_err(as_docker)?;
    note.iter().for_each(|note| render::note(note));
    let maps = own_maps();
    let request = PullRequest { reference, platform: args.platform.clone(), maps: maps.as_ref() };
    let progress = PullProgress::new(ProgressKind::Pull, prints, args.explain.is_on());
    let pulled = progress
        .while_shown(|| pull(&store, &request, &args.registry.options(), &progress, &args.explain.tell()));
    if pulled.is_ok() {
        note_event("pull", reference.familiar(), reference.familiar_name());
    }
    if pulled.is_ok() && store.has_leftovers() {
        sweep(&store);
    }
    pulled.map_err(|failure| {
        // What another attempt can use stays. If the rest cannot be removed now, it is later.
        if !failure.can_resume {
            sweep(&store);
        }
        let error: Error = failure.error;
        as_docker(error)
    })
}

/// Removes what no image needs. If it cannot be removed now, the next command does it.
fn sweep(store: &ImageStore) {
    let _ = store.sweep(in_use);
}
