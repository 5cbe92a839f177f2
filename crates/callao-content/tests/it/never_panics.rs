//! Whatever the bytes, decoders answer; and what they accept keeps its meaning. The bodies are those of the fuzz targets.

use proptest::prelude::*;

use crate::corpus::bodies;
use crate::images;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for (_, body) in bodies::ALL {
            body(&bytes);
        }
    }

    #[test]
    fn good_bytes_with_faults(
        which in any::<prop::sample::Index>(),
        faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let seeds = seeds();
        let mut bytes = seeds[which.index(seeds.len())].clone();
        for (place, value) in faults {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        for length in [bytes.len(), cut.index(bytes.len() + 1)] {
            for (_, body) in bodies::ALL {
                body(&bytes[..length]);
            }
        }
    }
}

/// Good input of every kind.
fn seeds() -> Vec<Vec<u8>> {
    use callao_content::car::Writer;
    use callao_content::profile::{Profile, Shape};
    let mut out = vec![b"QmW54qrASwQDdCyE1ik8GjQzD2NBZkp6k3Gnu3wh7HoF71".to_vec()];
    let shape = Shape {
        chunk_size: 50,
        width: 3,
        ..Profile::UnixfsV0_2015.shape()
    };
    let bytes = images::patchwork(1, 400);
    let layout = callao_content::import::import(&bytes, shape).expect("a good shape");
    let mut car = Writer::header(&[*layout.root()]);
    for node in layout.nodes() {
        car.extend(Writer::block_prefix(&node.cid, node.bytes.len()));
        car.extend_from_slice(&node.bytes);
        out.push(node.bytes.to_vec());
        out.push(
            callao_content::dag_pb::decode(&node.bytes)
                .expect("dag-pb")
                .data
                .expect("data")
                .to_vec(),
        );
    }
    out.push(layout.block(0, &bytes[..50]));
    out.push(layout.root().to_bytes());
    out.push(car);
    out
}
