//! A cause in words: why, the files that prove it, and what to do, the narrowest way first. Never one that takes a
//! protection from the whole machine: a profile for this one program, an option for this one container, or root.

use std::path::Path;

use serde::Serialize;

use super::{Failed, Reason, isolated};
use crate::feature::Feature;
use crate::host::facts::{APPARMOR_SWITCH, CHILDS_PROFILE, Facts, limit_file};
use crate::plan::Call;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// A likely cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Its one name, in JSON and in tests: `apparmor-userns`.
    pub name: &'static str,
    /// Sentences, then the files that prove them.
    pub why: Vec<String>,
    /// What to do, the narrowest first.
    pub todo: Vec<String>,
}

/// Where a profile expects the program. It names it by path, so only root may be able to change what lies there.
pub(crate) const INSTALLED: &str = "/usr/local/bin/sandbox";

pub(super) fn words(reason: Reason, facts: &Facts, failed: &Failed<'_>) -> Cause {
    let words = Words { facts, failed };
    match reason {
        Reason::Wsl1 => words
            .cause("wsl1", text("doctor.wsl1.why"))
            .seen("uname -r", &facts.release)
            .todo(text("doctor.wsl1.todo") + "\n   wsl --set-version <distribution> 2"),
        Reason::OldKernel(major, minor) => {
            let needs = format!("{major}.{minor}");
            let why = text_with("doctor.old.why", &[("needs", &needs)]);
            let todo = if facts.wsl().is_some() { "doctor.old.wsl" } else { "doctor.old.todo" };
            words
                .cause("old-kernel", why)
                .seen("uname -r", &facts.release)
                .todo(text_with(todo, &[("needs", &needs)]))
        }
        Reason::NotBuilt(feature) => {
            // init/Kconfig; mount namespaces are always built in, and cgroup namespaces come with cgroups.
            let option = format!("CONFIG_{}_NS", feature.name().to_uppercase());
            let why = text_with("doctor.notbuilt.why", &[("feature", feature.name()), ("option", &option)]);
            words
                .cause("not-built", why)
                .seen("/proc/self/ns", facts.namespaces.join(" "))
                .todo(text("doctor.notbuilt.todo"))
        }
        Reason::Limit(feature, limit) => words.limit(feature, limit),
        Reason::Processes => {
            words.cause("processes", text("doctor.processes.why")).todo(text("doctor.processes.todo"))
        }
        Reason::DebianSwitch => words
            .cause("debian-switch", text("doctor.debian.why"))
            .file("/proc/sys/kernel/unprivileged_userns_clone")
            .with_root()
            .plan_only(),
        Reason::Chroot => words.chroot(),
        Reason::Unmapped => words
            .cause(
                "unmapped-id",
                text_with(
                    "doctor.unmapped.why",
                    &[("uid", &facts.uid.to_string()), ("gid", &facts.gid.to_string())],
                ),
            )
            .file("/proc/self/uid_map")
            .file("/proc/self/gid_map")
            .todo(text("doctor.unmapped.todo")),
        Reason::RangeUnmapped(file) => {
            words.cause("unmapped-range", text("doctor.range.why")).file(file).todo(text("doctor.range.todo"))
        }
        Reason::AppArmorUserns => words.apparmor_userns(),
        Reason::AppArmorProfile => words.apparmor_profile(),
        Reason::Selinux => words
            .cause("selinux", text("doctor.selinux.why"))
            .file("/sys/fs/selinux/enforce")
            .todo(text("doctor.selinux.todo") + "\n   sudo ausearch -m avc -c sandbox -ts recent")
            .with_root()
            .plan_only(),
        Reason::Seccomp => words.seccomp(),
        Reason::NoNewPrivs => words
            .cause("no-new-privs", text("doctor.nonewprivs.why"))
            .file("/proc/self/status NoNewPrivs")
            .todo(text("doctor.nonewprivs.todo")),
        Reason::Helper => words.cause("helper", text("doctor.helper.why")).todo(text("doctor.helper.todo")),
        Reason::MaskedProc => words.masked_proc(),
        Reason::NoProc => words
            .cause("no-proc", text("doctor.noproc.why"))
            .todo(text("doctor.noproc.todo") + "\n   mount -t proc proc /proc"),
        Reason::NoFilesystem => {
            let kind = match failed.call {
                Call::Mount(MountCall::Filesystem { kind, .. })
                | Call::DetachedMount(DetachedMountCall::Make { kind, .. }) => kind,
                _ => "",
            };
            words
                .cause("no-filesystem", text_with("doctor.nofilesystem.why", &[("kind", kind)]))
                .todo(text("doctor.nofilesystem.todo") + &format!("\n   sudo modprobe {kind}"))
        }
        Reason::Capability(missing) => {
            let missing = missing.to_string();
            let why = text_with("doctor.capability.why", &[("capability", &missing)]);
            let cause = words.cause("capability", why).seen("capget(2)", words.capabilities());
            let option = format!("--cap-add {}", missing.trim_start_matches("CAP_"));
            if facts.container.is_some() { cause.this_container(&[&option]) } else { cause.with_root() }
                .plan_only()
        }
        Reason::Permissions => {
            words.cause("permissions", text("doctor.permissions.why")).todo(text("doctor.permissions.todo"))
        }
        Reason::Unknown => words.unknown(),
    }
    .cause
}

/// What every cause is told from.
#[derive(Clone, Copy)]
struct Words<'a> {
    facts: &'a Facts,
    failed: &'a Failed<'a>,
}

/// A cause that is being told.
struct Told<'a> {
    words: Words<'a>,
    cause: Cause,
}

impl<'a> Words<'a> {
    fn cause(self, name: &'static str, why: String) -> Told<'a> {
        Told { words: self, cause: Cause { name, why: vec![why], todo: vec![] } }
    }

    fn limit(self, feature: Feature, limit: u64) -> Told<'a> {
        let values = [("feature", feature.name()), ("limit", &limit.to_string())];
        let file = limit_file(feature);
        if limit == 0 {
            // A 0 is no accident: someone has switched it off.
            let told = self.cause("limit", text_with("doctor.limit.none", &values)).file(&file);
            let is_for_users = feature == Feature::User && self.failed.purpose != Feature::User;
            return if is_for_users { told.with_root() } else { told }.plan_only();
        }
        let ask = format!("\n   lsns -t {feature}");
        self.cause("limit", text_with("doctor.limit.why", &values))
            .file(&file)
            .todo(text_with("doctor.limit.todo", &values) + &ask)
    }

    fn chroot(self) -> Told<'a> {
        let key =
            if isolated(self.failed.call).is_some() { "doctor.chroot.why" } else { "doctor.chroot.root" };
        self.cause("chroot", text(key))
            .todo(text("doctor.chroot.todo") + "\n   sudo sandbox mnt --root <directory> -- <command>")
            .plan_only()
    }

    fn apparmor_userns(self) -> Told<'a> {
        let told = self.cause("apparmor-userns", text("doctor.apparmor.why")).file(APPARMOR_SWITCH);
        let told = if self.facts.files.contains_key(CHILDS_PROFILE) {
            told.file(CHILDS_PROFILE)
        } else if let Some((file, label)) = self.facts.profile() {
            told.seen(file, label)
        } else {
            told
        };
        let mut lines = text("doctor.apparmor.todo");
        let installed = if is_installed(&self.facts.program) {
            self.facts.program.as_str()
        } else {
            lines += &format!("\n   sudo install {} {INSTALLED}", quote(&self.facts.program));
            INSTALLED
        };
        lines += &format!("\n   {installed} doctor --apparmor-profile |");
        lines += "\n     sudo tee /etc/apparmor.d/sandbox";
        lines += "\n   sudo apparmor_parser -r /etc/apparmor.d/sandbox";
        told.todo(lines).with_root().plan_only()
    }

    fn apparmor_profile(self) -> Told<'a> {
        let (file, label) = self.facts.profile().unwrap_or_default();
        let name = label.split(' ').next().unwrap_or_default();
        let told = self
            .cause("apparmor-profile", text_with("doctor.profile.why", &[("profile", name)]))
            .seen(file, label);
        if self.facts.container.is_some() {
            return told.this_container(&[]).plan_only();
        }
        told.todo(
            text("doctor.profile.todo")
                + &format!("\n   sudo journalctl -k -g {}", quote(format!("apparmor=.DENIED.*{name}"))),
        )
        .plan_only()
    }

    fn seccomp(self) -> Told<'a> {
        let hidden = self.failed.errno == nix::errno::Errno::ENOSYS;
        let key = if hidden { "doctor.seccomp.hidden" } else { "doctor.seccomp.why" };
        let told = self.cause("seccomp", text(key)).file("/proc/self/status Seccomp");
        match &self.facts.container {
            Some(marker) => told.seen(marker, text("doctor.container.seen")).this_container(&[]).plan_only(),
            None => told.todo(text("doctor.seccomp.todo")).plan_only(),
        }
    }

    fn masked_proc(self) -> Told<'a> {
        let told = self
            .cause("masked-proc", text("doctor.masked.why"))
            .seen("/proc/self/mountinfo", some(&self.facts.over_proc));
        let told = told.todo(text("doctor.masked.todo") + "\n   sandbox pid --no-mount-proc");
        if self.facts.container.is_some() { told.this_container(&[]) } else { told }
    }

    /// Nothing explains it: then at least all that was looked at.
    fn unknown(self) -> Told<'a> {
        let mut told =
            self.cause("unknown", text("doctor.unknown.why")).seen("uname -r", &self.facts.release);
        for file in ["/proc/self/status Seccomp", "/proc/self/status NoNewPrivs"] {
            told = told.file(file);
        }
        if let Some((file, label)) = self.facts.profile() {
            told = told.seen(file, label);
        }
        told.seen("capget(2)", self.capabilities()).plan_only()
    }

    fn capabilities(self) -> String {
        match self.facts.capabilities.len() {
            0 => text("doctor.capability.none"),
            _ => some(&self.facts.capabilities),
        }
    }
}

impl Told<'_> {
    fn seen(mut self, source: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.cause.why.push(format!("{}: {}", source.as_ref(), value.as_ref()));
        self
    }

    /// A file of the facts, where it is there.
    fn file(self, file: &str) -> Self {
        match self.words.facts.files.get(file) {
            Some(value) if value.is_empty() => self.seen(file, text("doctor.empty")),
            Some(value) => self.seen(file, value),
            None => self,
        }
    }

    fn todo(mut self, todo: String) -> Self {
        self.cause.todo.push(todo);
        self
    }

    /// Root needs no user namespace. Who is root already has nothing to gain.
    fn with_root(self) -> Self {
        if self.words.facts.uid == 0 {
            return self;
        }
        let program =
            if is_installed(&self.words.facts.program) { "sandbox" } else { &self.words.facts.program };
        let line = format!("\n   sudo {} {}", quote(program), self.words.failed.purpose);
        self.todo(text("doctor.todo.root") + &line)
    }

    /// All that stands in this feature's way in this one container, at once. Outside of it nothing changes.
    fn this_container(self, options: &[&str]) -> Self {
        let facts = self.words.facts;
        let is_podman = facts.container.as_deref() == Some("/run/.containerenv");
        let isolates = |feature| self.words.failed.own.contains(&feature);
        let is_confined = facts.profile().is_some_and(|(_, label)| !label.starts_with("unconfined"));
        let mut line = String::from(if is_podman { "   podman run" } else { "   docker run" });
        let protections = [
            (facts.is_filtered(), "seccomp=unconfined"),
            (is_confined && isolates(Feature::Mnt), "apparmor=unconfined"),
            (
                !facts.over_proc.is_empty() && isolates(Feature::Pid),
                if is_podman { "unmask=ALL" } else { "systempaths=unconfined" },
            ),
        ];
        let lifted = protections.iter().filter(|(stands, _)| *stands);
        let lifted = lifted.map(|(_, option)| format!("--security-opt {option}"));
        for option in options.iter().map(|option| (*option).to_owned()).chain(lifted) {
            // A continued line for each from the second on: three would be too wide.
            line += &format!("{} {option}", if line.contains(" --") { " \\\n    " } else { "" });
        }
        self.todo(format!("{}\n{line} <image>", text("doctor.todo.container")))
    }

    fn plan_only(self) -> Self {
        let line = format!("\n   sandbox {} --dry-run", self.words.failed.purpose);
        self.todo(text("doctor.todo.plan") + &line)
    }
}

/// The first few of a list.
fn some(all: &[String]) -> String {
    match all.len() {
        0..=4 => all.join(", "),
        more => format!("{}, ... ({more})", all[..3].join(", ")),
    }
}

/// Whether only root can change what lies there, by where it lies.
pub(crate) fn is_installed(program: &str) -> bool {
    let folders = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    Path::new(program).parent().is_some_and(|folder| folders.iter().any(|known| Path::new(known) == folder))
}
