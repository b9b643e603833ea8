//! R9 and R10: input injected into the caller's terminal, and every system call of three ABIs.

use std::fs;

use crate::support::terminal::Terminal;
use crate::support::{binary, install, skip, snapshot_as_it_is, text};
use crate::{directory, run};

/// Injects a line into the terminal through each descriptor that may be one. It also sets high bits of the ioctl
/// request that the kernel ignores, and tries the request that pastes on a console.
const TYPE: &str = "open my $tty, '+<', '/dev/tty'; for my $high (0, 1 << 32, 1 << 63) { \
    for my $file (0, 1, 2, defined fileno($tty) ? fileno $tty : ()) { \
    syscall(16, $file, 0x5412 + $high, my $sign = $_) for split //, qq(echo typed\\n); \
    syscall(16, $file, 0x541C + $high, my $paste = chr 3) } }";

/// The test checks what the shell outside the container reads afterwards.
#[test]
#[cfg(target_arch = "x86_64")]
fn nothing_is_typed_for_the_shell_outside() {
    let directory = directory();
    let file = directory.path().join("spec.yaml");
    let attack = |spec: &str| {
        fs::write(&file, spec).unwrap();
        let words = format!("{} run {} -q -- perl -e \"$TYPE\"", binary().display(), file.display());
        let script = format!(
            "TYPE='{}'; {words}; while read -t 1 line; do echo got $line; done; echo end",
            TYPE.replace('\'', r"'\''")
        );
        let (_, seen) = Terminal::of("bash".as_ref(), &["-c", &script]).end();
        assert!(seen.contains("end\n"), "{spec}: {seen}");
        seen.matches("got echo typed").count()
    };
    if attack("uts:\n") == 0 {
        return skip("nothing_is_typed_for_the_shell_outside", "machine: dev.tty.legacy_tiocsti is 0");
    }
    for wall in [
        "seccomp: default\n",
        "seccomp: default\nno_new_privileges: true\n",
        "tty: true\n",
        "tty: true\nrootfs: host\n",
    ] {
        assert_eq!(attack(wall), 0, "{wall}");
    }
}

/// Makes each call in a child process whose exit status is the errno. The arguments are invalid: -1, or a bad address.
/// A few calls are left out: they would stop or end the child, or (sync) make the whole machine wait.
#[cfg(target_arch = "x86_64")]
const EACH: &str = r"
    my ($bit, $last) = @ARGV; my %left = map { $_ => 1 } 15, 34, 56, 57, 58, 60, 162, 231;
    $| = 1;
    for my $number (0 .. $last) {
        next if $left{$number} && !$bit;
        my $child = fork;
        if (!$child) { alarm 2; my $result = syscall($number | $bit, -1, -1, -1, -1, -1, -1); exit($result == -1 ? $! + 0 : 0) }
        waitpid $child, 0;
        print $number, ' ', $? & 127 ? 'signal ' . ($? & 127) : $? >> 8, qq(\n);
    }";

/// The highest system call number in the table, from Linux 6.18.
#[cfg(target_arch = "x86_64")]
const LAST: u32 = 470;

#[cfg(target_arch = "x86_64")]
fn each(spec: &str, bit: u32) -> Vec<(u32, String)> {
    let output = run(spec, &["perl", "-e", EACH, &bit.to_string(), &LAST.to_string()]);
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{shown}{}", text(&output.stderr));
    let line = |line: &str| {
        let (number, answer) = line.split_once(' ').unwrap();
        (number.parse().unwrap(), answer.to_owned())
    };
    shown.lines().map(line).collect()
}

/// In this spec the command has all capabilities that a user namespace gives. A call that is refused is therefore
/// refused by the seccomp filter.
#[cfg(target_arch = "x86_64")]
const OPEN: &str = "user: { map: root }\npid:\nmnt:\nnet:\nipc:\nuts:\ncgroup:\n";

#[test]
#[cfg(target_arch = "x86_64")]
fn each_call_has_the_answer_of_the_table() {
    let filtered = each(&format!("{OPEN}seccomp: default\n"), 0);
    let mut table = String::new();
    for (number, answer) in &filtered {
        let answer = match answer.as_str() {
            "1" => "EPERM",
            "38" => "ENOSYS",
            _ => "made",
        };
        table.push_str(&format!("{number} {answer}\n"));
    }
    snapshot_as_it_is("seccomp-x86_64", &table);
}

/// The system call numbers of x32 are those of x86_64 plus one bit. A kernel may support x32 or not.
#[test]
#[cfg(target_arch = "x86_64")]
fn no_call_of_x32_is_made() {
    let all = each("uts:\nseccomp: default\n", 0x4000_0000);
    assert_eq!(all.len(), LAST as usize + 1);
    assert!(all.iter().all(|(_, answer)| answer == "38"), "{all:?}");
}

/// A complete i386 program. It makes the call whose number equals its argc, with -1 as each argument. Its status is the
/// errno, or 0.
#[cfg(target_arch = "x86_64")]
fn i386() -> Vec<u8> {
    // mov eax, [esp]; mov ebx, -1; the same with ecx, edx, esi and edi; int 0x80
    let mut code = vec![0x8b, 0x04, 0x24];
    [0xbb, 0xb9, 0xba, 0xbe, 0xbf].iter().for_each(|opcode| code.extend([*opcode, 0xff, 0xff, 0xff, 0xff]));
    code.extend([0xcd, 0x80]);
    // neg eax; cmp eax, 0x1000; jb over; xor eax, eax; over: mov ebx, eax; mov eax, 1; int 0x80
    code.extend([
        0xf7, 0xd8, 0x3d, 0, 0x10, 0, 0, 0x72, 2, 0x31, 0xc0, 0x89, 0xc3, 0xb8, 1, 0, 0, 0, 0xcd, 0x80,
    ]);
    let (base, length) = (0x0804_8000, 52 + 32 + code.len() as u32);
    // The ELF header: an executable for the 386, its entry point and the offset of its only program header. Then the
    // segment.
    let header = [0x0003_0002, 1, base + 52 + 32, 52, 0, 0, 0x0020_0034, 1, 0];
    let segment = [1, 0, base, base, length, length, 5, 0x1000];
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.iter().chain(&segment).for_each(|word: &u32| program.extend(word.to_le_bytes()));
    program.extend(code);
    program
}

/// The calls that would stop or end the process, or (sync) make the whole machine wait: exit, fork, pause, sync,
/// sigsuspend, sigreturn, rt_sigreturn, rt_sigsuspend, vfork, exit_group.
#[cfg(target_arch = "x86_64")]
const I386_LEFT: [u32; 10] = [1, 2, 29, 36, 72, 119, 173, 179, 190, 252];

#[test]
#[cfg(target_arch = "x86_64")]
fn each_call_of_i386_has_the_answer_of_the_table() {
    let directory = directory();
    let bytes = directory.path().join("bytes");
    fs::write(&bytes, i386()).unwrap();
    let program = install("755", &bytes, &directory.path().join("i386"));
    let program = program.to_str().unwrap();
    let script = "for my $number (@ARGV[1 .. $#ARGV]) { my $child = fork; \
        if (!$child) { alarm 2; exec { $ARGV[0] } ('x') x $number or exit 255 } \
        waitpid $child, 0; print $? & 127 ? 'signal ' . ($? & 127) : $? >> 8, qq(\n) }";
    let answers = |spec: &str, numbers: &[u32]| {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        let output = run(spec, &[&["perl", "-e", script, program], &numbers[..]].concat());
        text(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    // 6 is close: EBADF.
    if answers("uts:\n", &[6]) != ["9"] {
        return skip("each_call_of_i386_has_the_answer_of_the_table", "machine: its kernel runs no i386");
    }
    let numbers: Vec<u32> = (1..=LAST).filter(|number| !I386_LEFT.contains(number)).collect();
    let all = answers(&format!("{OPEN}seccomp: default\n"), &numbers);
    assert_eq!(all.len(), numbers.len());
    let mut table = String::new();
    for (number, answer) in numbers.iter().zip(&all) {
        let answer = match answer.as_str() {
            "1" => "EPERM",
            "38" => "ENOSYS",
            _ => "made",
        };
        table.push_str(&format!("{number} {answer}\n"));
    }
    snapshot_as_it_is("seccomp-i386", &table);
}
