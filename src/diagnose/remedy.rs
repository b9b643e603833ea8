//! The explanation of a cause: why the call failed, the files that show it, and what to do. The first advice changes
//! the least. No advice switches a protection off for the whole machine. It is a profile for this one program, an
//! option for this one container, or root.

use std::path::Path;

use super::{Failed, Reason, UNKNOWN, file_of, new_namespaces};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::facts::{APPARMOR_SWITCH, CHILDS_PROFILE, Facts, limit_file};
use crate::host::storage;
use crate::plan::Call;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::text::{text, text_with};
use crate::value::shell::quote;
use crate::value::typed::TypedCommand;

/// The path in the AppArmor profile. A profile names a program by its path, so only root may be able to write to it.
pub(crate) const INSTALLED: &str = "/usr/local/bin/sandbox";

/// Adds the cause to an error: its name, the explanation, and what to do.
pub(super) fn explain(error: Error, reason: Reason, facts: &Facts, failed: &Failed<'_>) -> Error {
    let remedy = Remedy { facts, failed, error };
    match reason {
        Reason::Wsl1 => remedy
            .cause("wsl1", text("doctor.wsl1.why"))
            .seen("uname -r", &facts.release)
            .todo(text("doctor.wsl1.todo") + "\n   wsl --set-version <distribution> 2"),
        Reason::OldKernel(major, minor) => {
            let needs = format!("{major}.{minor}");
            let why = text_with("doctor.old.why", &[("needs", &needs)]);
            let todo = if facts.wsl().is_some() { "doctor.old.wsl" } else { "doctor.old.todo" };
            remedy
                .cause("old-kernel", why)
                .seen("uname -r", &facts.release)
                .todo(text_with(todo, &[("needs", &needs)]))
        }
        Reason::NotBuilt(feature) => {
            // The options of init/Kconfig. Mount namespaces are always built in; cgroup namespaces come with cgroups.
            let option = format!("CONFIG_{}_NS", feature.name().to_uppercase());
            let why = text_with("doctor.notbuilt.why", &[("feature", feature.name()), ("option", &option)]);
            remedy
                .cause("not-built", why)
                .seen("/proc/self/ns", facts.namespaces.join(" "))
                .todo(text("doctor.notbuilt.todo"))
        }
        Reason::Limit(feature, limit) => remedy.limit(feature, limit),
        Reason::Processes => {
            remedy.cause("processes", text("doctor.processes.why")).todo(text("doctor.processes.todo"))
        }
        Reason::OpenFiles => remedy
            .cause("open-files", text("doctor.openfiles.why"))
            .seen("getrlimit(RLIMIT_NOFILE)", facts.open_files.to_string())
            .todo(text("doctor.openfiles.todo") + more_files(facts.open_files)),
        Reason::FileTable => remedy
            .cause("file-table", text("doctor.filetable.why"))
            .todo(text("doctor.filetable.todo") + "\n   cat /proc/sys/fs/file-nr"),
        Reason::NoSys => remedy
            .cause("no-sys", text("doctor.nosys.why"))
            .todo(text("doctor.nosys.todo") + "\n   mount -t sysfs sysfs /sys"),
        Reason::DebianSwitch => remedy
            .cause("debian-switch", text("doctor.debian.why"))
            .file("/proc/sys/kernel/unprivileged_userns_clone")
            .with_root()
            .plan_only(),
        Reason::Chroot => remedy.chroot(),
        Reason::Unmapped => remedy
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
        Reason::RangeUnmapped(file) => remedy
            .cause("unmapped-range", text("doctor.range.why"))
            .file(file)
            .todo(text("doctor.range.todo")),
        Reason::NoOwner => {
            remedy.cause("no-owner", text("doctor.noowner.why")).todo(text("doctor.noowner.todo"))
        }
        Reason::AppArmorUserns => remedy.apparmor_userns(),
        Reason::AppArmorProfile => remedy.apparmor_profile(),
        Reason::Selinux => remedy
            .cause("selinux", text("doctor.selinux.why"))
            .file("/sys/fs/selinux/enforce")
            .todo(text("doctor.selinux.todo") + "\n   sudo ausearch -m avc -c sandbox -ts recent")
            .with_root()
            .plan_only(),
        Reason::Seccomp => remedy.seccomp(),
        Reason::NoNewPrivs => remedy
            .cause("no-new-privs", text("doctor.nonewprivs.why"))
            .file("/proc/self/status NoNewPrivs")
            .todo(text("doctor.nonewprivs.todo")),
        Reason::Helper => remedy.cause("helper", text("doctor.helper.why")).todo(text("doctor.helper.todo")),
        Reason::MaskedProc => remedy.masked_proc(),
        Reason::NoProc => remedy
            .cause("no-proc", text("doctor.noproc.why"))
            .todo(text("doctor.noproc.todo") + "\n   mount -t proc proc /proc"),
        Reason::PartOfProc => remedy
            .cause("part-of-proc", text("doctor.partproc.why"))
            .todo(text("doctor.partproc.todo") + "\n   mount -t proc proc /proc"),
        Reason::Storage => {
            let path = file_of(failed.call).unwrap_or_default();
            let error = Error { cause: Some("storage"), ..remedy.error };
            Remedy { error: storage::explain(error, failed.errno, &path), ..remedy }
        }
        Reason::Mounts => remedy.cause("mounts", text("doctor.mounts.why")).todo(
            text("doctor.mounts.todo") + "\n   wc -l < /proc/self/mountinfo; cat /proc/sys/fs/mount-max",
        ),
        Reason::Terminals => remedy.cause("terminals", text("doctor.terminals.why")).todo(
            text("doctor.terminals.todo") + "\n   cat /proc/sys/kernel/pty/nr /proc/sys/kernel/pty/max",
        ),
        Reason::NoFilesystem => {
            let kind = match failed.call {
                Call::Mount(MountCall::Filesystem { kind, .. })
                | Call::DetachedMount(DetachedMountCall::Make { kind, .. }) => kind,
                _ => "",
            };
            remedy
                .cause("no-filesystem", text_with("doctor.nofilesystem.why", &[("kind", kind)]))
                .todo(text("doctor.nofilesystem.todo") + &format!("\n   sudo modprobe {kind}"))
        }
        Reason::Capability(missing) => {
            let missing = missing.to_string();
            let why = text_with("doctor.capability.why", &[("capability", &missing)]);
            let cause = remedy.cause("capability", why).seen("capget(2)", capabilities(facts));
            let option = format!("--cap-add {}", missing.trim_start_matches("CAP_"));
            if facts.container.is_some() { cause.this_container(&[&option]) } else { cause.with_root() }
                .plan_only()
        }
        Reason::Permissions => {
            remedy.cause("permissions", text("doctor.permissions.why")).todo(text("doctor.permissions.todo"))
        }
        Reason::Unknown => remedy.unknown(),
    }
    .error
}

/// An error to which the explanation is added, and what the explanation is made from.
struct Remedy<'a> {
    facts: &'a Facts,
    failed: &'a Failed<'a>,
    error: Error,
}

impl Remedy<'_> {
    fn cause(self, name: &'static str, why: String) -> Self {
        Remedy { error: Error { cause: Some(name), why: vec![why], todo: vec![], ..self.error }, ..self }
    }

    fn limit(self, feature: Feature, limit: u64) -> Self {
        let values = [("feature", feature.name()), ("limit", &limit.to_string())];
        let file = limit_file(feature);
        if limit == 0 {
            // The default is never 0. An administrator has switched this kind of namespace off.
            let is_for_users = feature == Feature::User && self.failed.purpose != Feature::User;
            let remedy = self.cause("limit", text_with("doctor.limit.none", &values)).file(&file);
            return if is_for_users { remedy.with_root() } else { remedy }.plan_only();
        }
        let ask = format!("\n   lsns -t {feature}");
        self.cause("limit", text_with("doctor.limit.why", &values))
            .file(&file)
            .todo(text_with("doctor.limit.todo", &values) + &ask)
    }

    fn chroot(self) -> Self {
        let key = if new_namespaces(self.failed.call).is_some() {
            "doctor.chroot.why"
        } else {
            "doctor.chroot.root"
        };
        self.cause("chroot", text(key))
            .todo(text("doctor.chroot.todo") + "\n   sudo sandbox mnt --root DIRECTORY -- COMMAND")
            .plan_only()
    }

    fn apparmor_userns(self) -> Self {
        let facts = self.facts;
        let remedy = self.cause("apparmor-userns", text("doctor.apparmor.why")).file(APPARMOR_SWITCH);
        let remedy = if facts.files.contains_key(CHILDS_PROFILE) {
            remedy.file(CHILDS_PROFILE)
        } else if let Some((file, label)) = facts.profile() {
            remedy.seen(file, label)
        } else {
            remedy
        };
        let mut lines = text("doctor.apparmor.todo");
        let installed = if is_installed(&facts.program) {
            facts.program.as_str()
        } else {
            lines += &format!("\n   sudo install {} {INSTALLED}", quote(&facts.program));
            INSTALLED
        };
        lines += &format!("\n   {installed} doctor --apparmor-profile |");
        lines += "\n     sudo tee /etc/apparmor.d/sandbox";
        lines += "\n   sudo apparmor_parser -r /etc/apparmor.d/sandbox";
        remedy.todo(lines).with_root().plan_only()
    }

    fn apparmor_profile(self) -> Self {
        let facts = self.facts;
        let (file, label) = facts.profile().unwrap_or_default();
        let name = label.split(' ').next().unwrap_or_default();
        let remedy = self
            .cause("apparmor-profile", text_with("doctor.profile.why", &[("profile", name)]))
            .seen(file, label);
        if facts.container.is_some() {
            return remedy.this_container(&[]).plan_only();
        }
        remedy
            .todo(
                text("doctor.profile.todo")
                    + &format!("\n   sudo journalctl -k -g {}", quote(format!("apparmor=.DENIED.*{name}"))),
            )
            .plan_only()
    }

    fn seccomp(self) -> Self {
        let facts = self.facts;
        let hidden = self.failed.errno == nix::errno::Errno::ENOSYS;
        let key = if hidden { "doctor.seccomp.hidden" } else { "doctor.seccomp.why" };
        let remedy = self.cause("seccomp", text(key)).file("/proc/self/status Seccomp");
        match &facts.container {
            Some(marker) => {
                remedy.seen(marker, text("doctor.container.seen")).this_container(&[]).plan_only()
            }
            None => remedy.todo(text("doctor.seccomp.todo")).plan_only(),
        }
    }

    fn masked_proc(self) -> Self {
        let facts = self.facts;
        let remedy = self
            .cause("masked-proc", text("doctor.masked.why"))
            .seen("/proc/self/mountinfo", first_few(&facts.over_proc));
        let remedy = remedy.todo(text("doctor.masked.todo") + "\n   sandbox pid --no-mount-proc");
        if facts.container.is_some() { remedy.this_container(&[]) } else { remedy }
    }

    /// No rule explains it. The explanation then lists all facts that were checked.
    fn unknown(self) -> Self {
        let facts = self.facts;
        let mut remedy = self.cause(UNKNOWN, text("doctor.unknown.why")).seen("uname -r", &facts.release);
        for file in ["/proc/self/status Seccomp", "/proc/self/status NoNewPrivs"] {
            remedy = remedy.file(file);
        }
        if let Some((file, label)) = facts.profile() {
            remedy = remedy.seen(file, label);
        }
        remedy.seen("capget(2)", capabilities(facts)).plan_only()
    }

    fn seen(mut self, source: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.error.why.push(format!("{}: {}", source.as_ref(), value.as_ref()));
        self
    }

    /// Adds a file of the facts and its content, if the facts contain it.
    fn file(self, file: &str) -> Self {
        match self.facts.files.get(file) {
            Some(value) if value.is_empty() => self.seen(file, text("doctor.empty")),
            Some(value) => self.seen(file, value),
            None => self,
        }
    }

    fn todo(mut self, todo: String) -> Self {
        self.error.todo.push(todo);
        self
    }

    /// Advises to run as root, which needs no user namespace. No advice if the user is root already.
    fn with_root(self) -> Self {
        let is_for_root = self.facts.typed.as_ref().is_none_or(TypedCommand::is_for_root);
        if self.facts.uid == 0 || !is_for_root {
            return self;
        }
        let program = if is_installed(&self.facts.program) { "sandbox" } else { &self.facts.program };
        let generic = || format!("sudo {} {}", quote(program), self.failed.purpose);
        let line = self.facts.typed.as_ref().map_or_else(generic, TypedCommand::as_root);
        self.todo(format!("{}\n   {line}", text("doctor.todo.root")))
    }

    /// Advises the options for this one container that lift every protection that prevents this feature. Nothing
    /// changes outside of the container.
    fn this_container(self, options: &[&str]) -> Self {
        let facts = self.facts;
        let is_podman = facts.container.as_deref() == Some("/run/.containerenv");
        let has_new = |feature| self.failed.own.contains(&feature);
        let is_confined = facts.profile().is_some_and(|(_, label)| !label.starts_with("unconfined"));
        let mut line = String::from(if is_podman { "   podman run" } else { "   docker run" });
        let protections = [
            (facts.is_filtered(), "seccomp=unconfined"),
            (is_confined && has_new(Feature::Mnt), "apparmor=unconfined"),
            (
                !facts.over_proc.is_empty() && has_new(Feature::Pid),
                if is_podman { "unmask=ALL" } else { "systempaths=unconfined" },
            ),
        ];
        let lifted = protections.iter().filter(|(is_active, _)| *is_active);
        let lifted = lifted.map(|(_, option)| format!("--security-opt {option}"));
        for option in options.iter().map(|option| (*option).to_owned()).chain(lifted) {
            // Each option after the first gets a line of its own: three on one line would be too wide.
            line += &format!("{} {option}", if line.contains(" --") { " \\\n    " } else { "" });
        }
        self.todo(format!("{}\n{line} IMAGE", text("doctor.todo.container")))
    }

    fn plan_only(self) -> Self {
        let purpose = self.failed.purpose.name();
        let generic = || Some(format!("sandbox {purpose} --dry-run"));
        match self.facts.typed.as_ref().map_or_else(generic, |typed| typed.dry_run(purpose)) {
            Some(line) => self.todo(format!("{}\n   {line}", text("doctor.todo.plan"))),
            None => self,
        }
    }
}

/// The line that raises the limit on open files: to what is usual, or as far as the shell may.
fn more_files(open_files: u64) -> &'static str {
    if open_files < 1024 { "\n   ulimit -n 1024" } else { "\n   ulimit -n \"$(ulimit -Hn)\"" }
}

fn capabilities(facts: &Facts) -> String {
    match facts.capabilities.len() {
        0 => text("doctor.capability.none"),
        _ => first_few(&facts.capabilities),
    }
}

/// The first three of a list, if it is longer than four.
fn first_few(all: &[String]) -> String {
    match all.len() {
        0..=4 => all.join(", "),
        more => format!("{}, ... ({more})", all[..3].join(", ")),
    }
}

/// Whether the program is in a directory that only root can write to.
pub(crate) fn is_installed(program: &str) -> bool {
    let directories = ["/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    Path::new(program)
        .parent()
        .is_some_and(|directory| directories.iter().any(|known| Path::new(known) == directory))
}
