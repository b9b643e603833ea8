//! The same accesses judged in three ways: by the rules as they were given, by the BPF program, and by the kernel's
//! list of cgroup v1. All three must agree.

use super::program::run;
use super::*;

fn rules(rules: &[&str]) -> Vec<Rule> {
    rules.iter().map(|rule| rule.parse().unwrap()).collect()
}

fn devices(allow: &[&str], deny: &[&str]) -> Devices {
    Devices { allow: rules(allow), deny: rules(deny) }
}

/// The device and the access that is asked about. It is a rule, so that it can be compared with rules.
type Question = Device;

/// What the rules mean: deny wins, and rules with the same device numbers must together allow all of the access.
fn by_the_rules(spec: &Devices, question: &Question) -> bool {
    let given = |rules: &[Rule]| -> Vec<Device> {
        rules.iter().filter_map(|rule| rule.resolve().unwrap()).filter(|rule| rule.covers(question)).collect()
    };
    if given(&spec.deny).iter().any(|rule| rule.access.meets(question.access)) {
        return false;
    }
    let (all, none) = (spec.allow.contains(&Rule::All), spec.deny.contains(&Rule::All));
    let mut allowed = given(&spec.allow);
    allowed.extend(USUAL.iter().filter(|usual| !none && usual.covers(question)));
    let same = |a: &Device, b: &Device| (a.major, a.minor) == (b.major, b.minor);
    let together = |one: &Device| {
        let others = allowed.iter().filter(|other| same(one, other));
        others.fold(question.access, |left, other| left.without(other.access)).is_empty()
    };
    all && !none || allowed.iter().any(together)
}

/// A model of security/device_cgroup.c: what is written to the files of a cgroup, and which accesses its list then
/// allows.
#[derive(Default)]
struct Kernel {
    allows: bool,
    exceptions: Vec<Device>,
}

impl Kernel {
    fn write(&mut self, file: &str, line: &str) {
        let is_allow = file == "devices.allow";
        if line == "a" {
            *self = Kernel { allows: is_allow, exceptions: Vec::new() };
            return;
        }
        let device: Device = line.parse().unwrap();
        let same = |one: &Device| one.with(Access::ALL) == device.with(Access::ALL);
        let found = self.exceptions.iter_mut().find(|one| same(one));
        // dev_exception_rm, dev_exception_add: they change only an exception with exactly the same device numbers.
        match (is_allow == self.allows, found) {
            (true, Some(found)) => found.access = found.access.without(device.access),
            (true, None) => {}
            (false, Some(found)) => found.access = found.access.and(device.access),
            (false, None) => self.exceptions.push(device),
        }
        self.exceptions.retain(|one| !one.access.is_empty());
    }

    fn answers(&self, question: &Question) -> bool {
        let mut matching = self.exceptions.iter().filter(|one| one.covers(question));
        match self.allows {
            // match_exception_partial, match_exception
            true => !matching.any(|one| one.access.meets(question.access)),
            false => matching.any(|one| question.access.without(one.access).is_empty()),
        }
    }
}

/// Every access to devices with these numbers. The kernel asks for `m`, `r`, `w` and `rw`, and for no access at all in
/// access(2) with F_OK.
fn questions(majors: &[u32], minors: &[u32]) -> Vec<Question> {
    let letters = [Access::READ, Access::WRITE, Access::MKNOD];
    let access = (0..8).map(|bits| {
        let used = letters.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1);
        used.fold(Access::ALL.without(Access::ALL), |sum, (_, letter)| sum.and(*letter))
    });
    let access: Vec<Access> = access.collect();
    let mut all = Vec::new();
    for kind in [DeviceKind::Block, DeviceKind::Character] {
        for (major, minor) in majors.iter().flat_map(|major| minors.iter().map(move |minor| (*major, *minor)))
        {
            all.extend(access.iter().map(|access| Device::new(kind, Some(major), Some(minor), *access)));
        }
    }
    all
}

/// Compares all three. Returns whether cgroup v1 can express the policy.
fn agree(spec: &Devices, questions: &[Question]) -> bool {
    let policy = DeviceRules::from(spec.clone()).policy().unwrap();
    let program = policy.program();
    let list = policy.rules_v1().ok().map(|writes| {
        let mut kernel = Kernel::default();
        writes.iter().for_each(|(file, line)| kernel.write(file, line));
        kernel
    });
    for question in questions {
        let Device { kind, major, minor, access } = *question;
        let answer = run(&program, kind, major.unwrap(), minor.unwrap(), access.bits());
        // The rules do not say what happens with no access at all. The two versions must agree there too.
        if !access.is_empty() {
            assert_eq!(answer, by_the_rules(spec, question), "the program of {spec:?}, for {question}");
        }
        if let Some(kernel) = &list {
            assert_eq!(kernel.answers(question), answer, "the list of {spec:?}, for {question}");
        }
    }
    list.is_some()
}

#[test]
fn both_versions_follow_the_rules() {
    let majors = [0, 1, 2, 4, 5, 6, 7, 8, 9, 135, 136, 137, 4095];
    let minors = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1_048_575];
    let questions = questions(&majors, &minors);
    for (allow, deny, is_possible_on_v1) in [
        (&[] as &[&str], &[] as &[&str], true),
        (&["b 8:* r"], &[], true),
        (&["c 7:5 r", "c 7:5 w"], &[], true),
        (&["c 7:* r", "c *:5 w"], &[], true),
        (&["c *:* rwm"], &[], true),
        (&["a"], &[], true),
        (&["a"], &["b 8:* w", "c 1:5"], true),
        (&["a", "c 1:5"], &["c 1:* w", "c *:5 r"], true),
        (&[], &["/dev/zero rw"], true),
        (&[], &["c *:* m", "b *:* m", "/dev/zero"], true),
        (&[], &["c 1:* r", "c 1:* w"], true),
        (&[], &["a"], true),
        (&["c 1:3 rw", "b 8:1 r"], &["a"], true),
        (&["a"], &["a"], true),
        (&[], &["/dev/zero rwm"], false),
        (&[], &["c 136:5 r"], false),
        (&["b 8:*"], &["b *:1 w"], false),
    ] {
        let spec = devices(allow, deny);
        assert_eq!(agree(&spec, &questions), is_possible_on_v1, "{spec:?}");
    }
}

/// Up to two rules of each kind, from rules that are disjoint, that contain each other, and that overlap.
#[test]
fn both_versions_agree_for_all_combinations_of_rules() {
    let some = ["a", "c 1:3 r", "c 1:3 w", "c 1:* rw", "c *:3 wm", "c *:* m", "b 1:3 rwm"];
    let pairs =
        || (0..some.len()).flat_map(|one| (one..some.len()).map(move |other| [some[one], some[other]]));
    let questions = questions(&[1, 2], &[3, 4]);
    let specs = pairs().flat_map(|allow| pairs().map(move |deny| devices(&allow, &deny)));
    let possible = specs.filter(|spec| agree(spec, &questions)).count();
    assert!(0 < possible && possible < 784, "{possible} of 784");
}

#[test]
fn a_hole_is_refused_for_cgroup_v1_with_a_remedy() {
    let refused = |allow: &[&str], deny: &[&str]| {
        DeviceRules::from(devices(allow, deny)).policy().unwrap().rules_v1().unwrap_err()
    };
    let hole = refused(&[], &["/dev/zero"]);
    assert_eq!((hole.deny.to_string(), hole.allow.to_string()), ("c 1:5 rwm".into(), "c *:* m".into()));
    assert_eq!(
        hole.to_string(),
        "cgroup v1 cannot deny `c 1:5 rwm` while `c *:* m` is allowed: it removes only rules with exactly the same device \
         numbers. Deny only `c 1:5 rw`: a device file that can be created but not opened is useless."
    );
    // If there are two holes, the error names the one by which devices can be opened.
    let hole = refused(&[], &["c 136:5"]);
    assert_eq!(hole.allow.to_string(), "c 136:* rwm");
    assert!(hole.to_string().ends_with("Instead of `c 136:* rwm`, allow each device by itself."), "{hole}");
}

#[test]
fn a_policy_is_printed_in_the_order_of_its_rules() {
    let policy = DeviceRules::from(devices(&["c 1:3 rw", "b 8:* r"], &["a", "b 8:0"])).policy().unwrap();
    assert_eq!(
        policy.pseudo_code(),
        [
            "if type == b && major == 8 && minor == 0 && access meets rwm: deny",
            "if type == c && major == 1 && minor == 3 && access in rw: allow",
            "if type == b && major == 8 && access in r: allow",
            "deny",
        ]
    );
    let policy = DeviceRules::from(devices(&["a"], &["b *:* w"])).policy().unwrap();
    assert_eq!(policy.pseudo_code(), ["if type == b && access meets w: deny", "allow"]);
    let writes = [("devices.allow", "a"), ("devices.deny", "b *:* w")];
    assert_eq!(policy.rules_v1().unwrap(), writes.map(|(file, line)| (file, line.to_owned())));
    let written = serde_json::to_value(&policy).unwrap();
    assert_eq!(written, serde_json::json!({ "deny": ["b *:* w"], "allow": [], "otherwise": "allow" }));
}
