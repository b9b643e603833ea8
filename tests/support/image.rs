//! Images that are made in code: layers, and the archives that `docker save` and other tools write.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The archive of a layer.
#[derive(Default, Clone)]
pub struct Layer {
    archive: Vec<u8>,
}

impl Layer {
    pub fn new() -> Layer {
        Layer::default()
    }

    /// Any entry. `change` sets further fields of its header.
    pub fn entry(
        mut self,
        name: &[u8],
        kind: u8,
        link: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) -> Layer {
        // What does not fit into a header is in members before it, as GNU tar writes them.
        for (long, flag) in [(link, b'K'), (name, b'L')] {
            if long.len() > 100 {
                let content = [long, b"\0"].concat();
                self.member(b"././@LongLink", flag, b"", &content, |_| ());
            }
        }
        let cut = |long: &[u8]| long[..long.len().min(100)].to_owned();
        self.member(&cut(name), kind, &cut(link), content, change);
        self
    }

    fn member(
        &mut self,
        name: &[u8],
        kind: u8,
        link: &[u8],
        content: &[u8],
        change: impl FnOnce(&mut Header),
    ) {
        let mut header = Header::new_gnu();
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        header.set_entry_type(EntryType::new(kind));
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        change(&mut header);
        header.set_cksum();
        self.archive.extend_from_slice(header.as_bytes());
        self.archive.extend_from_slice(content);
        self.archive.resize(self.archive.len().next_multiple_of(512), 0);
    }

    /// A PAX header for the next entry.
    pub fn pax(mut self, records: &[(&str, &[u8])]) -> Layer {
        let mut content = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length = (rest + 1..rest + 8).find(|all| all.to_string().len() + rest == *all).unwrap();
            content.extend_from_slice(format!("{length} {key}=").as_bytes());
            content.extend_from_slice(value);
            content.push(b'\n');
        }
        self.member(b"pax", b'x', b"", &content, |_| ());
        self
    }

    pub fn file(self, name: &str, content: &str) -> Layer {
        self.entry(name.as_bytes(), b'0', b"", content.as_bytes(), |_| ())
    }

    /// An executable file.
    pub fn program(self, name: &str, content: &[u8]) -> Layer {
        self.entry(name.as_bytes(), b'0', b"", content, |header| header.set_mode(0o755))
    }

    pub fn directory(self, name: &str) -> Layer {
        self.entry(name.as_bytes(), b'5', b"", b"", |_| ())
    }

    pub fn symlink(self, name: &str, target: &str) -> Layer {
        self.entry(name.as_bytes(), b'2', target.as_bytes(), b"", |_| ())
    }

    pub fn hard_link(self, name: &str, target: &str) -> Layer {
        self.entry(name.as_bytes(), b'1', target.as_bytes(), b"", |_| ())
    }

    /// The bytes of the archive.
    pub fn tar(&self) -> Vec<u8> {
        [&self.archive[..], &[0; 1024]].concat()
    }
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image: its layers, the lowest first, and what its config says besides.
pub struct Image {
    pub layers: Vec<Vec<u8>>,
    pub config: Value,
}

impl Image {
    pub fn of(layers: &[Layer]) -> Image {
        Image { layers: layers.iter().map(Layer::tar).collect(), config: json!({}) }
    }

    /// The config, with the digests of the layers.
    pub fn config(&self) -> Vec<u8> {
        let mut config = json!({
            "architecture": "amd64",
            "os": "linux",
            "created": "2015-10-22T21:00:00Z",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": self.layers.iter().map(|one| digest(one)).collect::<Vec<_>>() },
        });
        for (key, value) in self.config.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.to_string().into_bytes()
    }

    pub fn id(&self) -> String {
        digest(&self.config())
    }

    /// The archive of `docker save`.
    pub fn docker(&self, names: &[&str]) -> Vec<u8> {
        let config = self.config();
        let file = format!("{}.json", self.id().replace("sha256:", ""));
        let layers: Vec<String> =
            (0..self.layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let mut archive = Layer::new().entry(file.as_bytes(), b'0', b"", &config, |_| ());
        for (name, layer) in layers.iter().zip(&self.layers) {
            archive = archive.entry(name.as_bytes(), b'0', b"", layer, |_| ());
        }
        let manifest = json!([{ "Config": file, "RepoTags": names, "Layers": layers }]).to_string();
        archive.file("manifest.json", &manifest).tar()
    }

    /// The blobs of the image with layers that are compressed by gzip, and its index.
    pub fn oci(&self, name: &str) -> Layout {
        let mut layout = Layout::default();
        let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{media_type}"), "digest": digest(bytes), "size": bytes.len() });
        let config = self.config();
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let compressed = gzip(layer);
                let described = descriptor("layer.v1.tar+gzip", &compressed);
                layout.blobs.push(compressed);
                described
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": layers,
        });
        let manifest = manifest.to_string().into_bytes();
        let mut described = descriptor("manifest.v1+json", &manifest);
        if !name.is_empty() {
            described["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
        }
        layout.blobs.extend([config, manifest]);
        layout.index = json!({ "schemaVersion": 2, "manifests": [described] });
        layout
    }
}

/// An OCI image layout.
#[derive(Default, Clone)]
pub struct Layout {
    pub blobs: Vec<Vec<u8>>,
    pub index: Value,
}

impl Layout {
    /// The files, with their names.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let blob = |bytes: &Vec<u8>| {
            (format!("blobs/sha256/{}", digest(bytes).replace("sha256:", "")), bytes.clone())
        };
        let mut files: Vec<(String, Vec<u8>)> = self.blobs.iter().map(blob).collect();
        files.push(("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
        files.push(("index.json".into(), self.index.to_string().into_bytes()));
        files
    }

    pub fn archive(&self) -> Vec<u8> {
        let add = |archive: Layer, (name, content): (String, Vec<u8>)| {
            archive.entry(name.as_bytes(), b'0', b"", &content, |_| ())
        };
        self.files().into_iter().fold(Layer::new(), add).tar()
    }

    pub fn directory(&self, at: &Path) -> PathBuf {
        for (name, content) in self.files() {
            let path = at.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        at.to_owned()
    }
}

/// A layer with programs of this machine, and the libraries that they load: `bin/sh` and so on.
pub fn programs(names: &[&str]) -> Layer {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut layer =
        ["bin", "etc", "tmp", "usr"].into_iter().fold(Layer::new(), |layer, name| layer.directory(name));
    for name in names {
        let path = ["/bin", "/usr/bin"].map(|directory| Path::new(directory).join(name));
        let path = path.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {name}"));
        layer = layer.program(&format!("bin/{name}"), &fs::read(&path).unwrap());
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, `/lib64/ld-linux-x86-64.so.2 (0x...)`
        let listed = Command::new("ldd").arg(&path).output().unwrap();
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        files.extend(listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from));
    }
    files.sort();
    files.dedup();
    for file in files {
        layer = layer.program(file.strip_prefix("/").unwrap().to_str().unwrap(), &fs::read(&file).unwrap());
    }
    layer
}
