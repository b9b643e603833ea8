//! The reader of /proc/sysvipc: System V objects. sysvipc(7)
//!
//! The crate procfs reads only shared memory, and no user ID above 65535.

use std::collections::BTreeMap;
use std::io;

use super::file;

/// A System V object: a line of a file in /proc/sysvipc.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SysvObject {
    /// Its ID, which ipcrm(1) takes.
    pub id: String,
    columns: BTreeMap<String, String>,
}

impl SysvObject {
    /// The value in a column, by the name in the heading: `uid`. Empty if there is no such column.
    pub fn column(&self, name: &str) -> &str {
        self.columns.get(name).map_or("", String::as_str)
    }
}

/// The objects of one kind in the caller's IPC namespace: `shm`, `sem` or `msg`. sysvipc(7)
///
/// # Errors
/// Those of open(2) and read(2): ENOENT, a kernel without System V IPC.
pub fn sysv_objects(kind: &str) -> io::Result<Vec<SysvObject>> {
    Ok(sysv_rows(&file::read_text(format!("/proc/sysvipc/{kind}"))?))
}

fn sysv_rows(table: &str) -> Vec<SysvObject> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let object = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The second column is the ID: shmid, semid or msqid.
        let id = (*words.get(1)?).to_owned();
        let columns = names.iter().zip(words).map(|(name, word)| ((*name).to_owned(), word.to_owned()));
        Some(SysvObject { id, columns: columns.collect() })
    };
    lines.filter_map(object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_system_v_objects_have_names() {
        let table = "       key      shmid perms       size   uid\n\
                     \x20        0          5  1600       4096 100000\n";
        let objects = sysv_rows(table);
        assert_eq!(objects.len(), 1);
        assert_eq!(
            (&*objects[0].id, objects[0].column("uid"), objects[0].column("none")),
            ("5", "100000", "")
        );
        assert_eq!(sysv_rows(""), []);
    }
}
