//! The root filesystem: what the kernel shows in the container, and what remains on the host.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use support::{binary, feed, is_root, sandbox, skip, text};

/// Runs `script` with the shell of a container.
fn run(spec: &str, script: &str) -> Output {
    feed(&mut sandbox(&["run", "-", "-q", "--", "sh", "-c", script]), spec)
}

/// The output of a script that must succeed.
fn said(spec: &str, script: &str) -> String {
    let output = run(spec, script);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{spec}\n{script}\n{:?}\n{out}\n{err}", output.status);
    out
}

/// The error of a container that must not start.
fn refused(spec: &str) -> String {
    let output = run(spec, "true");
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{spec}\n{error}");
    error.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The test's mount table. It must be the same before and after.
fn table() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

/// A directory that becomes a usable root when the host's /usr is bind-mounted in it.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for directory in ["usr", "proc", "sys", "dev", "etc", "tmp"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.path().join(name)).unwrap();
    }
    root
}

/// The spec of that root.
fn of(root: &Path, more: &str) -> String {
    let bind = "{ type: bind, source: /usr, target: /usr, readonly: true }";
    format!("rootfs: {}\npid:\nmnt:\n  mounts:\n  - {bind}\n{more}", root.display())
}

/// If /bin is not a link to /usr/bin, programs cannot run from /usr alone.
fn has_usr_alone(test: &str) -> bool {
    let has = Path::new("/bin").is_symlink();
    if !has {
        skip(test, "machine: /bin isn't a link to /usr/bin");
    }
    has
}

const HOST: &str = "rootfs: host\npid:\nuts: { hostname: box }\nipc:\nnet:";

#[test]
fn what_is_written_to_this_machine_s_files_is_gone_afterwards() {
    let before = (table(), fs::metadata("/etc").unwrap().mtime_nsec(), fs::read("/etc/hosts").ok());
    let said = said(
        HOST,
        "echo inside > /etc/canary\ncat /etc/canary /etc/hostname\ntail -n 1 /etc/hosts\nls -A /home /root /run",
    );
    assert_eq!(said, "inside\nbox\n127.0.1.1\tbox\n/home:\n\n/root:\n\n/run:\n");
    assert!(!Path::new("/etc/canary").exists());
    assert_eq!((table(), fs::metadata("/etc").unwrap().mtime_nsec(), fs::read("/etc/hosts").ok()), before);
}

#[test]
fn this_machine_s_files_may_belong_to_root_inside() {
    if !is_root() {
        return skip(
            "this_machine_s_files_may_belong_to_root_inside",
            "machine: maps of others' ids are root's",
        );
    }
    let script = "stat -c %u:%g /etc/passwd /usr/bin /\necho >> /etc/passwd && mkdir /usr/made && cat /proc/self/uid_map";
    for (map, first) in [("auto", None), ("root", Some("0"))] {
        let said = said(&format!("{HOST}\nuser: {{ map: {map} }}"), script);
        assert!(said.starts_with("0:0\n0:0\n0:0\n"), "{map}: {said}");
        let outside = said.split_whitespace().nth(4);
        assert!(first.is_none_or(|first| outside == Some(first)), "{said}");
        assert!(first.is_some() || outside != Some("0"), "{said}");
    }
    assert!(!Path::new("/usr/made").exists());
}

#[test]
fn a_directory_stays_clean_under_an_overlay_and_only_then() {
    if !has_usr_alone("a_directory_stays_clean_under_an_overlay_and_only_then") {
        return;
    }
    let (root, before) = (root(), table());
    fs::write(root.path().join("etc/hosts"), "the directory's").unwrap();
    let script = "echo inside > /etc/canary; head -n 1 /etc/hosts; ls /etc";
    // Without a network of its own, it has the names of this machine.
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_else(|_| "127.0.0.1\tlocalhost\n".to_owned());
    let first = hosts.lines().next().unwrap_or_default();
    let shown = said(&of(root.path(), "overlay: true"), script);
    assert_eq!(shown, format!("{first}\ncanary\nhostname\nhosts\nresolv.conf\n"));
    assert!(!root.path().join("etc/canary").exists());
    assert_eq!(said(&of(root.path(), ""), script), format!("{first}\ncanary\nhosts\n"));
    assert_eq!(fs::read(root.path().join("etc/canary")).unwrap(), b"inside\n");
    assert_eq!(fs::read(root.path().join("etc/hosts")).unwrap(), b"the directory's");
    assert_eq!(table(), before);
}

#[test]
fn a_root_may_refuse_writes() {
    if !has_usr_alone("a_root_may_refuse_writes") {
        return;
    }
    let root = root();
    let readonly = |spec: String| spec.replace("mnt:\n", "mnt:\n  readonly: true\n");
    let script = "touch /canary 2>&1; touch /tmp/canary 2>&1; touch /dev/shm/fine && echo fine";
    let refused = "touch: cannot touch '/canary': Read-only file system\n";
    for more in ["", "overlay: true"] {
        let shown = said(&readonly(of(root.path(), more)), script);
        assert_eq!(shown, format!("{refused}{}fine\n", refused.replace("/canary", "/tmp/canary")));
    }
    // /tmp is a separate mount there.
    let shown = said("rootfs: host\nmnt: { readonly: true }", script);
    assert!(shown.starts_with(refused) && shown.ends_with("fine\n"), "{shown}");
    assert!(said("mnt: { readonly: true }", "touch /canary 2>&1 || true").contains("Read-only file system"));
    assert!(!Path::new("/canary").exists());
}

/// The ways in which root in a container may try to escape: `..`, other processes' roots and descriptors, a chroot in
/// a chroot.
#[test]
fn the_old_root_is_out_of_reach() {
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    fs::write(&canary, "").unwrap();
    let canary = canary.display();
    let script = format!(
        "stat -L -c %d:%i / /.. /proc/1/root /proc/self/root/..\n\
         for way in /.. /proc/1/root /proc/1/cwd /proc/*/fd/* /proc/*/root /proc/*/cwd; do\n\
         test -e $way/{canary} && echo $way leads out\ntest -e $way/../../../../../../../{canary} && echo $way leads out\ndone\n\
         ls /proc/self/fd /proc/1/fd | tr '\\n' ' '"
    );
    for spec in [HOST.to_owned(), HOST.replace("pid:", "pid: { init: true }")] {
        let shown = said(&spec, &script);
        let lines: Vec<&str> = shown.lines().collect();
        let (last, roots) = lines.split_last().unwrap();
        // An ordinary user cannot read the init's links in /proc.
        assert_eq!(roots.len(), if spec.contains("init") && !is_root() { 3 } else { 4 }, "{shown}");
        assert!(roots.iter().all(|line| *line == roots[0]), "{shown}");
        // Descriptor 3 is the directory that ls lists.
        assert!(last.ends_with("/proc/self/fd: 0 1 2 3 "), "{shown}");
    }
}

#[test]
fn dev_has_what_is_listed_and_works() {
    let script = "ls /dev; echo gone > /dev/null; head -c 1 /dev/zero | od -An -tx1; echo x > /dev/full\n\
        stat -L -c '%t:%T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx; ls /dev/pts /dev/shm; \
        exec 9<> /dev/ptmx; ls /dev/pts";
    let shown = said(HOST, script);
    let nodes = "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n";
    let numbers = "1:3\n1:5\n1:7\n1:8\n1:9\n5:0\n5:2\n";
    assert_eq!(shown, format!("{nodes} 00\n{numbers}/dev/pts:\nptmx\n\n/dev/shm:\n0\nptmx\n"));
    let without = said("rootfs: host", "ls /dev");
    assert_eq!(without, nodes.replace("mqueue\n", ""));
}

#[test]
fn what_is_the_machine_s_is_masked() {
    let script = "cd /proc; for path in acpi kcore keys latency_stats sched_debug scsi timer_list timer_stats; do\n\
        if test -d $path; then ls -A $path; elif test -e $path; then cat $path; fi\ndone; ls -A /sys/firmware\n\
        touch /sys/kernel/canary 2>&1\n\
        for file in sys/kernel/hostname sys/vm/drop_caches irq/default_smp_affinity sysrq-trigger; do\n\
        test ! -e $file || (echo 1 > $file) 2>&1\ndone; true";
    assert!(
        !is_root() || !fs::read("/proc/timer_list").unwrap().is_empty(),
        "outside there is something to see"
    );
    for spec in [HOST, "rootfs: host", "rootfs: host\nnet:"] {
        let shown = said(spec, script);
        assert!(shown.contains("sys/kernel/hostname: Read-only file system"), "{spec}: {shown}");
        assert!(shown.lines().count() >= 3, "{spec}: {shown}");
        for line in shown.lines() {
            let is_refused =
                ["Read-only file system", "Permission denied"].iter().any(|why| line.contains(why));
            assert!(is_refused, "{spec}: {line}");
        }
    }
}

/// The root and the mount point of each line, see proc_pid_mountinfo(5).
fn places(mountinfo: &str) -> Vec<(String, String)> {
    let field = |line: &str, number| line.split(' ').nth(number).unwrap().to_owned();
    mountinfo.lines().map(|line| (field(line, 3), field(line, 4))).collect()
}

#[test]
fn the_mount_table_names_nothing_of_the_host_but_what_was_asked_for() {
    if !has_usr_alone("the_mount_table_names_nothing_of_the_host_but_what_was_asked_for") {
        return;
    }
    let masks = ["/null", "/bus", "/fs", "/irq", "/sys", "/sysrq-trigger"];
    let nodes = ["/zero", "/full", "/random", "/urandom", "/tty"];
    let etc = ["/hostname", "/hosts", "/resolv.conf"];
    let own = |of: &str| of == "/" || masks.contains(&of) || nodes.contains(&of) || etc.contains(&of);
    // For an ordinary user, a directory is bind-mounted together with the mounts below it.
    let table = said(HOST, "cat /proc/self/mountinfo");
    if is_root() {
        assert!(places(&table).iter().all(|(of, _)| own(of)), "{table}");
    }
    assert!(!table.contains("lowerdir=/ ") && !table.contains("/old_root/"), "{table}");
    let root = root();
    let table = said(&of(root.path(), "overlay: true\nnet:"), "cat /proc/self/mountinfo");
    let of_host: Vec<_> = places(&table).into_iter().filter(|(of, _)| !own(of)).collect();
    assert!(
        of_host.iter().all(|(of, place)| of.ends_with("/usr") && place.starts_with("/usr")),
        "{of_host:?}"
    );
    assert!(!table.contains(&*root.path().to_string_lossy()), "{table}");
}

/// `proc`, `dev` and `sys` are links in the image. The mounts must not follow them to a directory on the host.
#[test]
fn no_link_of_the_root_leads_a_mount_outside() {
    if !has_usr_alone("no_link_of_the_root_leads_a_mount_outside") {
        return;
    }
    let (root, canary, before) = (root(), tempfile::tempdir().unwrap(), table());
    let outside = canary.path().canonicalize().unwrap();
    for (name, link) in
        [("proc", outside.clone()), ("dev", "/etc".into()), ("sys", "../../../../../../../opt".into())]
    {
        fs::remove_dir(root.path().join(name)).unwrap();
        symlink(&link, root.path().join(name)).unwrap();
    }
    assert_eq!(root.path().join("proc").canonicalize().unwrap(), outside, "a path from here leads out");
    assert!(
        refused(&of(root.path(), "")).contains("/proc does not exist in"),
        "inside there is no such directory"
    );
    let inside = root.path().join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(&inside).unwrap();
    fs::create_dir(root.path().join("opt")).unwrap();
    let show = |more: &str| {
        said(&of(root.path(), more), "ls /etc/null; test -e /proc/self/status && cat /proc/self/mountinfo")
    };
    let shown = show("");
    assert!(shown.starts_with("/etc/null\n"), "{shown}");
    let points: Vec<String> =
        places(shown.split_once('\n').unwrap().1).into_iter().map(|(_, point)| point).collect();
    for point in [&*outside.to_string_lossy(), "/etc", "/opt"] {
        assert!(points.iter().any(|found| found == point), "{point}: {points:?}");
    }
    // The upper layer of the overlay has directories with these names. They hide the links.
    let shown =
        run(&of(root.path(), "overlay: true"), "ls -d /proc/self/status /dev/null /sys/kernel; ls /etc");
    let shown = text(&shown.stdout);
    assert!(
        shown.ends_with("/dev/null\n/proc/self/status\n/sys/kernel\nhostname\nhosts\nresolv.conf\n"),
        "{shown}"
    );
    for directory in [&outside, &inside, &root.path().join("opt")] {
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "{}", directory.display());
    }
    assert_eq!(table(), before);
}

#[test]
fn mounts_are_made_in_their_order() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("page"), "hello\n").unwrap();
    let source = directory.path().display();
    let mounts = format!(
        "mnt:\n  mounts:\n\
         \x20 - {{ type: tmpfs, target: /srv, size: 1MiB }}\n\
         \x20 - {{ type: bind, source: {source}, target: /srv/site, readonly: true }}\n\
         \x20 - {{ type: bind, source: {source}, target: /home/me/work }}\n\
         \x20 - {{ type: bind, source: {source}/page, target: /run/one/page }}\n"
    );
    let script = "cat /srv/site/page /home/me/work/page /run/one/page\n\
        touch /srv/site/new 2>&1; touch /srv/fine /home/me/work/made\ndf -k /srv | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2";
    let shown = said(&format!("{HOST}\n{mounts}"), script);
    let refused = "touch: cannot touch '/srv/site/new': Read-only file system\n";
    assert_eq!(shown, format!("hello\nhello\nhello\n{refused}1024\n"));
    assert!(directory.path().join("made").exists());
    // The same without a new root.
    let mounts =
        format!("mnt:\n  mounts:\n  - {{ type: bind, source: {source}, target: /srv, readonly: true }}\n");
    assert_eq!(said(&mounts, "cat /srv/page; touch /srv/new 2>/dev/null || echo no"), "hello\nno\n");
}

/// If the host's directories are mounted one by one, the content of /mnt and /media is not visible. Both still exist
/// as mount points.
#[test]
fn a_mount_point_for_media_is_there() {
    let spec = "rootfs: host\npid:\nmnt: { mounts: [{ type: tmpfs, target: /mnt }, { type: tmpfs, target: /media }] }\n";
    assert_eq!(said(spec, "cut -d' ' -f2 /proc/mounts | grep ^/m | sort"), "/media\n/mnt\n");
}

#[test]
fn what_can_not_be_done_is_refused_before() {
    let root = root();
    let at = |target: &str| format!("rootfs: host\nmnt: {{ mounts: [{{ type: tmpfs, target: {target} }}] }}");
    let before = table();
    for (spec, words) in [
        (at("/proc"), "files of the kernel"),
        (at("/proc/self/attr"), "files of the kernel"),
        (at("/sys/fs"), "files of the kernel"),
        (at("/"), "has no effect"),
        (at("/dev"), "files of the kernel"),
        (at("srv"), "must begin with `/`"),
        ("rootfs: /no-such-root".into(), "must be a directory"),
        ("rootfs: /".into(), "already"),
        ("rootfs: host\nmnt: { root: /srv }".into(), "two roots"),
        ("rootfs: host\nmnt: { propagation: shared }".into(), "shared mounts"),
        (of(root.path(), "").replace("target: /usr", "target: /nowhere"), "would stay afterwards"),
    ] {
        let error = refused(&spec);
        assert!(error.contains(words), "{spec}: {error}");
    }
    fs::remove_dir(root.path().join("sys")).unwrap();
    assert!(refused(&of(root.path(), "")).contains("/sys does not exist in"));
    assert_eq!(table(), before);
}

#[test]
fn it_goes_with_every_other_namespace() {
    let all = format!("{HOST}\ncgroup:\ntime: {{ boottime: 1h }}");
    let shown = said(&all, "hostname; cat /etc/hostname; cat /proc/self/timens_offsets | tail -n 1");
    assert!(shown.starts_with("box\nbox\nboottime") && shown.contains("3600"), "{shown}");
    if is_root() {
        let shown = said(&format!("{all}\nuser: {{ map: root }}"), "stat -c %u /etc/passwd");
        assert_eq!(shown, "0\n");
    }
}

/// The calls name files in the new root by descriptors, never by a path on the host. The shell lines that a plan
/// prints do the same.
fn by_hand(spec: &str, command: &[&str]) -> String {
    let output = feed(&mut sandbox(&[&["run", "-", "--dry-run", "--"], command].concat()), spec);
    let plan = text(&output.stdout);
    let block = plan.split_once("The same by hand:\n").expect("a block").1;
    block.split_once("\nWith docker:").expect("its end").0.to_owned()
}

/// Each mount: its mount point, its filesystem, its restricting options.
fn mounts(mountinfo: &str) -> Vec<(String, String, String)> {
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let kind = line.split_once(" - ").unwrap().1.split(' ').next().unwrap();
        (fields[4].to_owned(), kind.to_owned(), fields[5].to_owned())
    };
    let mut all: Vec<_> = mountinfo.lines().map(of).collect();
    all.sort();
    all
}

#[test]
fn the_same_by_hand_makes_the_same_root() {
    let test = "the_same_by_hand_makes_the_same_root";
    if !has_usr_alone(test) {
        return;
    }
    let directory = root();
    let mounts_of = "mnt:\n  readonly: true\n  mounts:\n  - { type: tmpfs, target: '/tmp/a b' }\n  \
                     - { type: bind, source: /usr/share, target: /tmp/share, readonly: true }\n";
    let specs = [
        HOST.to_owned(),
        format!("{HOST}\n{mounts_of}"),
        of(directory.path(), ""),
        of(directory.path(), "overlay: true\n"),
    ];
    for spec in specs {
        let command = ["cat", "/proc/self/mountinfo"];
        let hand =
            Command::new("sh").args(["-c", &by_hand(&spec, &command)]).current_dir("/").output().unwrap();
        let own = feed(&mut sandbox(&[&["run", "-", "-q", "--"][..], &command].concat()), &spec);
        assert!(
            own.status.success() && hand.status.success(),
            "{spec}: {} {}",
            text(&own.stderr),
            text(&hand.stderr)
        );
        let (own, hand) = (mounts(&text(&own.stdout)), mounts(&text(&hand.stdout)));
        assert_eq!(own, hand, "{spec}");
    }
    // The host passes this mount into the user namespace by a descriptor, which has no path. The plan reports that
    // and prints no partial script.
    if support::is_root() {
        let lines = by_hand(&format!("{HOST}\nuser: {{ map: root }}\n"), &["true"]);
        assert!(lines.contains("no shell command does that") && !lines.contains("pivot_root"), "{lines}");
    }
}

#[test]
fn the_kernel_is_told_descriptors_only() {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("the_kernel_is_told_descriptors_only", "strace(1) isn't installed");
    }
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("log");
    let calls = "trace=mount,umount2,pivot_root,chroot,move_mount,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,chown,fchownat";
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", calls, "-o"]).arg(&log).arg(binary());
    let output = feed(strace.args(["run", "-", "-q", "--", "true"]).current_dir("/"), HOST);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = fs::read_to_string(log).unwrap();
    let calls = log.lines().filter_map(|line| line.split_once(' ')).map(|(_, call)| call.trim());
    // Only calls: no line of a signal, and no second half of an interrupted call.
    let calls: Vec<&str> =
        calls.filter(|call| call.starts_with(|sign: char| sign.is_ascii_lowercase())).collect();
    assert!(calls.len() > 30, "{log}");
    let is_number = |words: &str| words.parse::<u32>().is_ok();
    for call in calls {
        let (name, rest) = call.split_once('(').unwrap();
        let arguments: Vec<&str> = rest.split(", ").collect();
        let is_plain = match name {
            "mount" => call.starts_with("mount(NULL, \"/\", NULL, MS_REC|MS_PRIVATE"),
            "umount2" => arguments[0] == "\"/\"" || arguments[0] == "\".\"",
            "pivot_root" => rest.starts_with("\".\", \".\""),
            // The target is the old root, or the file that a descriptor refers to.
            "move_mount" => {
                arguments[2] == "AT_FDCWD" && arguments[3] == "\"/\""
                    || is_number(arguments[2]) && arguments[3] == "\"\""
            }
            "symlinkat" => is_number(arguments[1]) && !arguments[2].contains('/'),
            // RUN, which is outside.
            "mkdirat" if arguments[0] == "AT_FDCWD" => {
                arguments[1].starts_with("\"/tmp/sandbox-") || arguments[1].starts_with("\"/run/")
            }
            "mkdirat" | "mknodat" | "fchownat" => is_number(arguments[0]) && !arguments[1].contains('/'),
            _ => false,
        };
        assert!(is_plain, "{call}");
    }
}
