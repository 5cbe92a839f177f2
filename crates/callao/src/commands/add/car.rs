//! Writes a CARv1 of files: for each its root, inner nodes and leaves in depth-first order, each block once. It appears
//! complete or not at all.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use callao_content::Cid;
use callao_content::car;
use callao_content::dag_pb;
use callao_content::layout::Layout;
use callao_store::disk::DiskFile;

use crate::app::App;
use crate::commands::beside;
use crate::error::CommandError;
use crate::exit_code::ExitCode;

const BUFFER_BYTES: usize = 1024 * 1024;

/// Writes the CAR of files, each given by its layout and its path, to `out`.
pub(crate) fn write(app: &App, files: &[(&Layout, &Path)], out: &Path) -> Result<(), CommandError> {
    let _guard = app.interrupt.guard();
    let temporary = beside(out);
    let written = write_files(app, files, &temporary).and_then(|()| {
        app.disk
            .rename(&temporary, out)
            .map_err(|error| CommandError::io("rename a CAR to", out, &error))?;
        let dir = out.parent().unwrap_or(Path::new("/"));
        app.disk
            .sync_dir(dir)
            .map_err(|error| CommandError::io("write to", dir, &error))
    });
    if written.is_err() {
        // The first error is the one to tell.
        app.disk.remove(&temporary).unwrap_or(false);
    }
    written
}

fn write_files(
    app: &App,
    files: &[(&Layout, &Path)],
    temporary: &Path,
) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError::io("write", temporary, &error);
    let target = app.disk.create_new(temporary).map_err(failed)?;
    let mut out = Buffered {
        file: &*target,
        path: temporary,
        buffer: Vec::with_capacity(2 * BUFFER_BYTES),
        position: 0,
        written: HashSet::new(),
    };
    let mut roots: Vec<Cid> = files.iter().map(|(layout, _)| *layout.root()).collect();
    let mut seen = HashSet::new();
    roots.retain(|root| seen.insert(*root));
    out.put(&car::Writer::header(&roots))?;
    for (layout, path) in files {
        let file = app
            .disk
            .open_read(path)
            .map_err(|error| CommandError::io("open", path, &error))?;
        write_blocks(app, layout, &*file, &mut out)?;
    }
    out.flush()?;
    target.sync_data().map_err(failed)
}

/// The blocks of one file that are not in the CAR yet.
fn write_blocks(
    app: &App,
    layout: &Layout,
    file: &dyn DiskFile,
    out: &mut Buffered<'_>,
) -> Result<(), CommandError> {
    let nodes: HashMap<Cid, &[u8]> = layout
        .nodes()
        .iter()
        .map(|node| (node.cid, &*node.bytes))
        .collect();
    let mut next_leaf = 0;
    let mut leaf = vec![0; layout.max_leaf() as usize];
    let mut rest = vec![*layout.root()];
    while let Some(cid) = rest.pop() {
        app.interrupt.check()?;
        if let Some(bytes) = nodes.get(&cid) {
            let node = dag_pb::decode(bytes)?;
            rest.extend(node.links.iter().rev().map(|link| link.cid));
            if out.is_new(&cid) {
                out.block(&cid, bytes)?;
            }
            continue;
        }
        let index = next_leaf;
        next_leaf += 1;
        if out.is_new(&cid) {
            out.block(&cid, &leaf_block(layout, index, file, &mut leaf)?)?;
        }
    }
    Ok(())
}

/// Reads a leaf again and proves it again: the file may have changed since it was hashed.
fn leaf_block(
    layout: &Layout,
    index: usize,
    file: &dyn DiskFile,
    buffer: &mut [u8],
) -> Result<Vec<u8>, CommandError> {
    let changed = || {
        CommandError::new(
            ExitCode::Integrity,
            "the file changed while its CAR was written",
        )
    };
    let leaf = layout.leaves().get(index).ok_or_else(changed)?;
    let payload = &mut buffer[..leaf.length as usize];
    let mut done = 0;
    while done < payload.len() {
        match file.read_at(&mut payload[done..], leaf.offset + done as u64) {
            Ok(0) => return Err(changed()),
            Ok(read) => done += read,
            Err(error) => {
                return Err(CommandError::new(
                    ExitCode::Disk,
                    format!("failed to read the file again: {error}"),
                ));
            }
        }
    }
    layout.verify(index, payload).map_err(|_| changed())?;
    Ok(layout.block(index, payload))
}

/// Writes in large pieces.
struct Buffered<'a> {
    file: &'a dyn DiskFile,
    path: &'a Path,
    buffer: Vec<u8>,
    position: u64,
    /// The blocks that are in the CAR.
    written: HashSet<Cid>,
}

impl Buffered<'_> {
    /// Whether a block is not in the CAR yet; it is from now on.
    fn is_new(&mut self, cid: &Cid) -> bool {
        self.written.insert(*cid)
    }

    fn block(&mut self, cid: &Cid, bytes: &[u8]) -> Result<(), CommandError> {
        self.put(&car::Writer::block_prefix(cid, bytes.len()))?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), CommandError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), CommandError> {
        let written = self.file.write_at(&self.buffer, self.position);
        written.map_err(|error| CommandError::io("write", self.path, &error))?;
        self.file
            .start_writeback(self.position..self.position + self.buffer.len() as u64);
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
