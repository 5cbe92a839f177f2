//! Which firmware is taken, and what becomes of it.
#![expect(clippy::disallowed_methods, reason = "tests make firmware files")]

use super::*;

fn there<'a>(paths: &'a [&'a str]) -> impl Fn(&Path) -> bool + 'a {
    |path| paths.iter().any(|known| Path::new(known) == path)
}

fn chosen(arch: Arch, dirs: &[&str], paths: &[&str]) -> Option<(String, Option<String>)> {
    let dirs: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
    let found = choose(arch, candidates(arch, &dirs), there(paths)).ok()?;
    let text = |path: PathBuf| path.display().to_string();
    Some((text(found.code), found.vars.map(text)))
}

#[test]
fn the_first_pair_is_taken_and_code_alone_only_if_there_is_no_pair() {
    let debian = [
        "/usr/share/OVMF/OVMF_CODE.fd",
        "/usr/share/OVMF/OVMF_CODE_4M.fd",
        "/usr/share/OVMF/OVMF_VARS.fd",
        "/usr/share/OVMF/OVMF_VARS_4M.fd",
    ];
    let expected = (debian[1].to_owned(), Some(debian[3].to_owned()));
    assert_eq!(chosen(Arch::X86_64, &[], &debian), Some(expected));
    let half = [debian[0], debian[1], debian[2]];
    let expected = (debian[0].to_owned(), Some(debian[2].to_owned()));
    assert_eq!(chosen(Arch::X86_64, &[], &half), Some(expected));
    let code = [debian[1]];
    assert_eq!(
        chosen(Arch::X86_64, &[], &code),
        Some((debian[1].to_owned(), None))
    );
    let own = ["/o/edk2-x86_64-code.fd", "/o/edk2-i386-vars.fd"];
    let all = [debian.as_slice(), &own].concat();
    let expected = (own[0].to_owned(), Some(own[1].to_owned()));
    assert_eq!(chosen(Arch::X86_64, &["/o"], &all), Some(expected));
    let arm = ["/o/edk2-aarch64-code.fd", "/o/edk2-arm-vars.fd"];
    let expected = (arm[0].to_owned(), Some(arm[1].to_owned()));
    assert_eq!(chosen(Arch::Aarch64, &["/o"], &arm), Some(expected));
    assert_eq!(chosen(Arch::Aarch64, &["/o"], &all), None);
}

#[test]
fn what_is_missing_says_what_to_install() {
    let none = |arch| choose(arch, candidates(arch, &[]), there(&[])).expect_err("none");
    assert_eq!(
        none(Arch::X86_64).to_string(),
        "no UEFI firmware for x86_64 was found: install it (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf; Arch: edk2-ovmf), \
         or set `firmware: {legacyBIOS: true}` in the template if the image boots by BIOS"
    );
    assert_eq!(
        none(Arch::Aarch64).to_string(),
        "no UEFI firmware for aarch64 was found: install it (Debian, Ubuntu: qemu-efi-aarch64; Fedora: edk2-aarch64; \
         Arch: edk2-aarch64)"
    );
}

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        std::fs::write(self.path(name), bytes).expect("written");
        self.path(name)
    }

    fn prepare(&self, firmware: &Firmware, arch: Arch) -> Result<Boot, FirmwareError> {
        let (code, vars) = (self.path("own-code"), self.path("own-vars"));
        let own = OwnCopies {
            code: &code,
            vars: &vars,
        };
        prepare(firmware, arch, own)
    }
}

#[test]
fn an_instance_keeps_its_own_variables() {
    let place = Place::new();
    let firmware = Firmware {
        code: place.write("code", b"code"),
        vars: Some(place.write("vars", b"empty")),
    };
    let boot = place.prepare(&firmware, Arch::X86_64).expect("prepared");
    let expected = Boot::Uefi {
        code: place.path("code"),
        vars: Some(place.path("own-vars")),
    };
    assert_eq!(boot, expected);
    place.write("own-vars", b"mine!");
    place.prepare(&firmware, Arch::X86_64).expect("prepared");
    let read = |name: &str| std::fs::read(place.path(name)).expect("it is there");
    assert_eq!(read("own-vars"), b"mine!");
    place.write("vars", b"another layout");
    place.prepare(&firmware, Arch::X86_64).expect("prepared");
    assert_eq!(read("own-vars"), b"another layout");
}

#[test]
fn code_alone_has_no_variables_on_x86_64() {
    let place = Place::new();
    let firmware = Firmware {
        code: place.write("code", b"code"),
        vars: None,
    };
    let boot = place.prepare(&firmware, Arch::X86_64).expect("prepared");
    let expected = Boot::Uefi {
        code: place.path("code"),
        vars: None,
    };
    assert_eq!(boot, expected);
    assert!(!place.path("own-vars").exists());
}

#[test]
fn flash_of_aarch64_is_filled_up_and_never_overfull() {
    let place = Place::new();
    let firmware = Firmware {
        code: place.write("code", b"short"),
        vars: None,
    };
    let boot = place.prepare(&firmware, Arch::Aarch64).expect("prepared");
    let expected = Boot::Uefi {
        code: place.path("own-code"),
        vars: Some(place.path("own-vars")),
    };
    assert_eq!(boot, expected);
    for name in ["own-code", "own-vars"] {
        assert_eq!(files::size(&place.path(name)).ok(), Some(ARM_FLASH_BYTES));
    }
    let code = std::fs::read(place.path("own-code")).expect("it is there");
    assert!(code.starts_with(b"short\0\0"));

    let long = std::fs::File::create(place.path("long")).expect("created");
    long.set_len(ARM_FLASH_BYTES + 1).expect("sparse");
    let firmware = Firmware {
        code: place.path("long"),
        vars: None,
    };
    let error = place
        .prepare(&firmware, Arch::Aarch64)
        .expect_err("too long");
    let path = place.path("long").display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "the firmware {path} has 67108865 bytes, but the flash of this machine only 67108864"
        )
    );
    let firmware = Firmware {
        code: place.path("gone"),
        vars: None,
    };
    let error = place.prepare(&firmware, Arch::Aarch64).expect_err("gone");
    assert!(
        error.to_string().starts_with("cannot copy the firmware "),
        "{error}"
    );
}
