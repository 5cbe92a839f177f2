//! Which files a WHAT needs, and for each the alternatives in the order in which they are tried. Pure.
//!
//! Entries with the same digest or CID are one file with several locations: all of them are asked at once.
//! Pinned is pinned: an entry with neither digest nor CID is not an alternative to one that has them, unless the user
//! says so.

use callao_content::Cid;
use callao_content::address::IpfsAddress;
use callao_content::cid;
use callao_content::digest::Digest;
use callao_fetch::oci::reference::Reference;
use callao_template::{Arch, File, Selection, Skipped};

/// What a file is to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Image,
    Kernel,
    Initrd,
    Archive,
    Firmware,
    VirtioWin,
    Template,
    File,
}

impl Noun {
    /// As limactl calls it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Noun::Image => "the image",
            Noun::Kernel => "the kernel",
            Noun::Initrd => "the initrd",
            Noun::Archive => "the nerdctl archive",
            Noun::Firmware => "the UEFI code",
            Noun::VirtioWin => "the virtio-win drivers",
            Noun::Template => "the template",
            Noun::File => "the file",
        }
    }

    /// Without the article, for JSON.
    pub(crate) fn bare(self) -> &'static str {
        &self.text()["the ".len()..]
    }

    /// For a location outside a template: images are known by their names, as limactl knows them.
    pub(crate) fn of_location(location: &str) -> Self {
        let path = name_in(location).to_ascii_lowercase();
        let plain = [".gz", ".xz", ".bz2", ".zst", ".zstd"]
            .iter()
            .find_map(|ext| path.strip_suffix(ext))
            .unwrap_or(&path);
        let is_image = [".img", ".qcow2", ".raw", ".iso", ".ipsw"]
            .iter()
            .any(|ext| plain.ends_with(ext));
        if is_image { Noun::Image } else { Noun::File }
    }
}

/// Where a location leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Plain HTTP(S); the address, if it is a gateway's URL.
    Http(Option<IpfsAddress>),
    /// IPFS.
    Ipfs(IpfsAddress),
    /// A file in a registry.
    Oci(Reference),
    /// A path as written, without `file://`.
    Local(String),
    /// A scheme that callao cannot fetch; limactl may have it in the cache all the same.
    Other(String),
}

/// One name for the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Byte for byte as written: Lima's cache key is made from it.
    pub(crate) text: String,
    pub(crate) place: Place,
}

impl Location {
    /// Reads a location of a template.
    pub(crate) fn read(text: &str) -> Self {
        let lower = text.to_ascii_lowercase();
        let place = if lower.starts_with("http://") || lower.starts_with("https://") {
            Place::Http(IpfsAddress::parse(text).and_then(Result::ok))
        } else if let (true, Some(Ok(address))) =
            (lower.starts_with("ipfs://"), IpfsAddress::parse(text))
        {
            Place::Ipfs(address)
        } else if let Some(Ok(reference)) = Reference::parse(text) {
            Place::Oci(reference)
        } else {
            match text.split_once("://") {
                Some(("file", path)) => Place::Local(path.into()),
                None => Place::Local(text.into()),
                Some((scheme, _)) => Place::Other(scheme.into()),
            }
        };
        Location {
            text: text.into(),
            place,
        }
    }

    /// Whether it names the same bytes for ever.
    fn is_pinned(&self) -> bool {
        match &self.place {
            Place::Oci(reference) => reference.digest.is_some(),
            _ => self.address().is_some(),
        }
    }

    /// The IPFS address in it.
    pub(crate) fn address(&self) -> Option<&IpfsAddress> {
        match &self.place {
            Place::Ipfs(address) | Place::Http(Some(address)) => Some(address),
            _ => None,
        }
    }
}

/// One file that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) noun: Noun,
    pub(crate) arch: Option<Arch>,
    /// All names of the same bytes; the first one is the one that is talked about. Not empty.
    pub(crate) locations: Vec<Location>,
    pub(crate) digest: Option<Digest>,
    /// The CID of the file itself, as far as somebody said so.
    pub(crate) cid: Option<Cid>,
}

impl Want {
    /// Reads a file of a template.
    fn of_file(noun: Noun, file: &File) -> Self {
        let location = Location::read(&file.location);
        let whole = location
            .address()
            .filter(|address| address.path.is_empty())
            .map(|address| address.cid);
        Want {
            noun,
            arch: file.arch,
            digest: file.digest,
            cid: file.cid.or(whole),
            locations: vec![location],
        }
    }

    /// The location that is talked about.
    pub(crate) fn location(&self) -> &str {
        self.locations.first().map_or("", |location| &location.text)
    }

    /// The last part of the location, for messages and file names.
    pub(crate) fn base_name(&self) -> &str {
        let text = self.location();
        let path = name_in(text);
        path.trim_end_matches('/')
            .rsplit('/')
            .next()
            .filter(|name| !name.is_empty())
            .unwrap_or(text)
    }

    /// Whether anything says which bytes are the right ones.
    pub(crate) fn is_pinned(&self) -> bool {
        self.digest.is_some()
            || self.cid.is_some()
            || self.locations.iter().any(Location::is_pinned)
    }

    /// Whether both certainly name the same bytes, and nothing says the contrary.
    pub(crate) fn is_same_file(&self, other: &Want) -> bool {
        match (self.digest, other.digest) {
            (Some(mine), Some(theirs)) if mine.algorithm() == theirs.algorithm() => mine == theirs,
            _ => self.has_same_cid(other),
        }
    }

    fn has_same_cid(&self, other: &Want) -> bool {
        match (self.cid, other.cid) {
            (Some(mine), Some(theirs)) => cid::same_block(&mine, &theirs),
            (Some(file), None) => other.may_be(&file),
            (None, Some(file)) => self.may_be(&file),
            (None, None) => {
                let (mine, theirs) = (self.locations.first(), other.locations.first());
                mine.and_then(Location::address)
                    .is_some_and(|mine| theirs.and_then(Location::address) == Some(mine))
            }
        }
    }

    /// `ipfs://CID/name`, where the CID is known to be that of a file: the rest is only its name.
    fn may_be(&self, file: &Cid) -> bool {
        let mut addresses = self.locations.iter().filter_map(Location::address);
        addresses.any(|address| address.path.len() <= 1 && cid::same_block(&address.cid, file))
    }

    pub(crate) fn take_over(&mut self, other: Want) {
        self.digest = self.digest.or(other.digest);
        self.cid = self.cid.or(other.cid);
        for location in other.locations {
            if !self.locations.iter().any(|mine| mine.text == location.text) {
                self.locations.push(location);
            }
        }
    }
}

/// The part of a location that names the file: the path, or what comes after `#` in a registry.
fn name_in(location: &str) -> &str {
    match location.split_once('#') {
        Some((registry, file)) if registry.starts_with("oci://") && !file.is_empty() => file,
        _ => location.split(['?', '#']).next().unwrap_or(location),
    }
}

/// One way to get what is needed: all of its files are fetched, or the next alternative is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alternative {
    /// The image, then its kernel and initrd; or one archive; or one file.
    pub(crate) wants: Vec<Want>,
}

impl Alternative {
    /// Of a single file.
    pub(crate) fn of(want: Want) -> Self {
        Alternative { wants: vec![want] }
    }

    fn is_pinned(&self) -> bool {
        self.wants.first().is_some_and(Want::is_pinned)
    }

    fn is_same(&self, other: &Alternative) -> bool {
        let same =
            |(mine, theirs): (&Want, &Want)| mine.noun == theirs.noun && mine.is_same_file(theirs);
        self.wants.len() == other.wants.len() && self.wants.iter().zip(&other.wants).all(same)
    }
}

/// Something that is needed: the first alternative that succeeds is it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    pub(crate) alternatives: Vec<Alternative>,
    /// Locations that are not tried because nothing says what their bytes are.
    pub(crate) unpinned: Vec<String>,
    /// Files of the template that are not meant: of another architecture or variant.
    pub(crate) skipped: Vec<Skipped>,
    /// What limactl does when none can be had; without it, the need is a must.
    pub(crate) otherwise: Option<&'static str>,
}

/// How strict to be with entries that have neither digest nor CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pins {
    /// Never without.
    Required,
    /// Only where there is no entry with one.
    Preferred,
    /// As limactl: in their turn.
    Optional,
}

/// The needs of a template.
pub(crate) fn of_selection(selection: &Selection, archives: bool, pins: Pins) -> Vec<Need> {
    let images = selection.images.iter().map(|image| {
        let mut wants = vec![Want::of_file(Noun::Image, &image.file)];
        wants.extend(
            image
                .kernel
                .iter()
                .map(|file| Want::of_file(Noun::Kernel, file)),
        );
        wants.extend(
            image
                .initrd
                .iter()
                .map(|file| Want::of_file(Noun::Initrd, file)),
        );
        Alternative { wants }
    });
    let mut needs = vec![need(images.collect(), pins)];
    let of_files = |noun, files: &[File]| {
        let alternatives = files
            .iter()
            .map(|file| Alternative::of(Want::of_file(noun, file)));
        need(alternatives.collect(), pins)
    };
    needs.push(of_files(Noun::VirtioWin, &selection.virtio_win));
    if archives {
        needs.push(of_files(Noun::Archive, &selection.archives));
    }
    needs.push(Need {
        otherwise: Some("limactl takes the firmware that is installed with QEMU"),
        ..of_files(Noun::Firmware, &selection.firmware)
    });
    needs.retain(|need| !need.alternatives.is_empty() || !need.unpinned.is_empty());
    if let Some(first) = needs.first_mut() {
        first.skipped.clone_from(&selection.skipped);
    }
    needs
}

/// One need out of its alternatives: those of the same bytes become one, those without a pin go where the rules say.
pub(crate) fn need(candidates: Vec<Alternative>, pins: Pins) -> Need {
    let mut alternatives: Vec<Alternative> = Vec::new();
    for candidate in candidates {
        match alternatives
            .iter_mut()
            .find(|earlier| earlier.is_same(&candidate))
        {
            Some(earlier) => {
                for (mine, theirs) in earlier.wants.iter_mut().zip(candidate.wants) {
                    mine.take_over(theirs);
                }
            }
            None => alternatives.push(candidate),
        }
    }
    let any_pinned = alternatives.iter().any(Alternative::is_pinned);
    let keep = |alternative: &Alternative| match pins {
        Pins::Required => alternative.wants.iter().all(Want::is_pinned),
        Pins::Preferred => alternative.is_pinned() || !any_pinned,
        Pins::Optional => true,
    };
    let (kept, dropped): (Vec<_>, Vec<_>) = alternatives.into_iter().partition(keep);
    let unpinned = dropped
        .iter()
        .flat_map(|alternative| alternative.wants.iter().filter(|want| !want.is_pinned()))
        .map(|want| want.location().to_string());
    Need {
        unpinned: unpinned.collect(),
        skipped: Vec::new(),
        alternatives: kept,
        otherwise: None,
    }
}

#[cfg(test)]
mod tests;
