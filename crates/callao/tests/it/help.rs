//! What the program says about itself, and about command lines that make no sense.

use insta::assert_snapshot;

use crate::env::TestEnvironment;

#[test]
fn help_teaches() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["--help"]).stdout, @r##"
    Verified VM images from every source at once, straight into Lima's cache

    Usage: callao [OPTIONS] <COMMAND>

    Commands:
      get          Fetch and verify files, into Lima's cache or to a file
      add          Compute digest and CID of files and make them known, without copying them
      lima         Run limactl with its files fetched and verified beforehand
      start        Make a virtual machine, start it, and wait until it is ready
      create       Make a virtual machine without starting it
      stop         Stop a virtual machine
      restart      Stop a virtual machine and start it again
      shell        Get into a virtual machine, or run a command in it
      copy         Copy files into a virtual machine, or out of it
      list         Show the virtual machines
      delete       Remove virtual machines
      logs         Show what a virtual machine says on its serial port
      ssh-config   Print what ssh needs to know to get into a virtual machine
      edit         Change CPUs, memory or disk of a virtual machine that does not run
      lock         Write the digest and the CID of every file into a template
      publish      Publish files by `callao serve`, to an OCI registry, to a kubo, or into a CAR
      serve        Give others what the cache holds: bitswap, and a gateway for this computer
      service      Have systemd run `callao serve` for you
      peers        Show whom the running `callao serve` is connected to
      cache        Look at the cache, clear it up, and repair it
      explain      Say where each file would come from and why, and how the last fetches went
      doctor       Check whether callao can work on this computer, and say what to do
      demo         Show in a throw-away directory, without network, what callao does
      completions  Print a completion script for a shell
      man          Print the manual page (view it with: callao man | man -l -)
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Common options:
          --json             Print every event and result on stdout as JSON, one object a line, each
                             with "v":1
          --no-progress      Show no progress
      -q, --quiet            Print errors, warnings and results only
      -v, --verbose          Print more: every source that is asked
          --config <FILE>    Settings file [default: ~/.config/callao/config.toml]
          --cache-dir <DIR>  Directory that holds Lima's cache (lima/) and callao's own (callao/)
                             [default: ~/.cache]

    Examples:
      callao get template.yaml          every file of a template, into Lima's cache
      callao get https://host/a.img --digest sha256:...
      callao get ipfs://bafy.../a.img   from gateways, a kubo on this computer, a CAR
      callao start template.yaml        a virtual machine of it; callao shell NAME
      callao lock template.yaml         digest and CID of every file, into the template
      callao add disk.img               digest, CID, and the lines for a template
      callao demo                       see it at work, without network

    `callao COMMAND --help` tells more about a command, `callao man` everything.
    "##);
}

#[test]
#[expect(clippy::too_many_lines, reason = "the help is long")]
fn help_of_get() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["get", "--help"]).stdout, @r##"
    Fetch and verify files, into Lima's cache or to a file

    Usage: callao get [OPTIONS] [WHAT]...

    Arguments:
      [WHAT]...
              Template, URL, ipfs:// address, CID or path

    Options:
          --arch <ARCH>
              Architecture whose files of a template are fetched [default: that of this computer]

          --image-variant <NAME>
              Take the images of this variant [default: that of the first image]

          --arch-variant <NAME>
              Take the images of this archVariant [default: that of the first image]

          --no-archives
              Leave out the containerd archives of a template

          --lock-seconds <SECONDS>
              How long to wait for another process that is busy with the same file

          --list
              Print every file of WHAT and whether it would be fetched; fetch nothing

      -o, --output <FILE>
              Write this file instead of an entry in Lima's cache; it appears complete or not at all

      -h, --help
              Print help (see a summary with '-h')

    What it must be:
          --digest <DIGEST>
              Digest that the file must have, as sha256:HEX (or sha384, sha512)

          --cid <CID>
              CID that the file must have

          --strict
              Stop when the CID and the digest name different bytes (the digest decides otherwise)

          --require-pin
              Never fetch a file that has neither digest nor CID

          --allow-unpinned
              Fall back to entries without digest and CID when all pinned ones fail, as limactl does

    Where to look:
          --mirror <URL>...
              Further URLs of the same bytes (not for templates)

          --gateway <URL>...
              IPFS gateways to ask

          --kubo <URL|DIR>...
              RPC address of a kubo daemon, or the directory of a kubo repository

          --car <FILE>...
              CAR files to read from

          --peer <MULTIADDR>...
              Peers to ask, as /ip4/ADDRESS/tcp/PORT/p2p/ID

          --only <KIND>
              Use no other kinds of source than these

              Possible values:
              - http:    The URLs of the file and its mirrors
              - gateway: IPFS gateways
              - kubo:    A kubo daemon or repository
              - car:     CAR files
              - file:    Local files
              - oci:     Registries of OCI artifacts
              - bitswap: Peers that speak bitswap
              - lan:     Other callaos on the local network

          --discovery <SCOPE>
              Where to look besides the places that are named: everywhere, the local network, or nowhere

              Possible values:
              - public: Public gateways, routers and peers, the local network, and this computer
              - lan:    Peers on the local network, and a kubo on this computer
              - none:   Only the places that you or the template name

          --allow-http <HOST[:PORT]>
              Speak plain http to this registry (this computer needs no permission)

          --offline
              Open no socket at all

    Common options:
          --json
              Print every event and result on stdout as JSON, one object a line, each with "v":1

          --no-progress
              Show no progress

      -q, --quiet
              Print errors, warnings and results only

      -v, --verbose
              Print more: every source that is asked

          --config <FILE>
              Settings file [default: ~/.config/callao/config.toml]

          --cache-dir <DIR>
              Directory that holds Lima's cache (lima/) and callao's own (callao/) [default: ~/.cache]

    WHAT is one of
      template.yaml           a Lima template, by its path, URL or ipfs:// address:
                              image, kernel, initrd, archives, firmware
      template:NAME           a template of Lima's or callao's; - reads one from stdin
      https://host/file       a URL; verified with --digest or --cid
      ipfs://CID[/path]       a file, or one below a directory; also CID, /ipfs/CID
      oci://host/repository   a file in a registry: [:TAG|@DIGEST][#FILE]
      https://host/ipfs/CID   a gateway's URL: verified, and fetched elsewhere as well
      path/to/file            a file that is here already: verified in place

    Each file is proven block by block if its CID is known, and as a whole by its
    digest, before limactl can see it. An interrupted get goes on where it was.
    The path of each file is printed on stdout.

    Examples:
      callao get template.yaml --arch aarch64
      callao get template:ubuntu --list
      callao get https://host/a.img --digest sha256:... --mirror https://other/a.img
      callao get ipfs://bafy.../a.img --kubo ~/.ipfs --only kubo
      callao get bafy... --car a.car -o a.img --offline
    "##);
}

#[test]
fn help_of_lima() {
    let env = TestEnvironment::new();
    let help = env.succeed(&["lima", "--help"]).stdout;
    for part in [
        "callao lima start",
        "plugins",
        "takes the place of callao",
        "--gateway",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let help = env
        .succeed(&["lima", "plugins", "install", "--help"])
        .stdout;
    assert!(help.contains("--dir <DIR>"), "{help}");
    // Of what there is below, the manual tells as well.
    let manual = env.succeed(&["man"]).stdout;
    assert!(manual.contains("CALLAO LIMA PLUGINS REMOVE"), "{manual}");
}

#[test]
fn help_of_add() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["add", "--help"]).stdout, @r##"
    Compute digest and CID of files and make them known, without copying them

    Usage: callao add [OPTIONS] <FILE>...

    Arguments:
      <FILE>...  Files to add

    Options:
          --profile <PROFILE>   How the file is cut and linked: kubo-cid-v1 is `ipfs add
                                --cid-version=1`, unixfs-v0-2015 plain `ipfs add` [default: kubo-cid-v1]
                                [possible values: unixfs-v0-2015, kubo-cid-v1, kubo-cid-v1-dag-pb,
                                kubo-raw-leaves, legacy-1mib, unixfs-v1-2025]
          --chunk-size <BYTES>  Length of a leaf in bytes, instead of the profile's
          --width <COUNT>       Links of an inner node, instead of the profile's
          --only-hash           Compute only: register nothing
          --car <OUT>           Write a CAR file with all blocks as well
      -h, --help                Print help

    Common options:
          --json             Print every event and result on stdout as JSON, one object a line, each
                             with "v":1
          --no-progress      Show no progress
      -q, --quiet            Print errors, warnings and results only
      -v, --verbose          Print more: every source that is asked
          --config <FILE>    Settings file [default: ~/.config/callao/config.toml]
          --cache-dir <DIR>  Directory that holds Lima's cache (lima/) and callao's own (callao/)
                             [default: ~/.cache]

    The file is read once and stays where it is: `callao get` of its digest or CID
    uses it from now on. The CID is that of `ipfs add` with the same profile.
    A CAR (FILE.car) is checked and registered with all its blocks: directories too.

    Examples:
      callao add disk.img
      callao add --only-hash --profile unixfs-v1-2025 disk.img
      callao add disk.img --car disk.car
      callao add images.car
    "##);
}

#[test]
fn help_of_machines() {
    let env = TestEnvironment::new();
    let help = env.succeed(&["start", "--help"]).stdout;
    for part in [
        "[default: 4, or as many as there are]",
        "callao start ipfs://bafy.../a.img --name a --mount ~/src:w",
        "--peer <MULTIADDR>",
    ] {
        assert!(help.contains(part), "{part}: {help}");
    }
    let help = env.succeed(&["demo", "--help"]).stdout;
    assert!(help.contains("scripts/make-tiny-image"), "{help}");
    let manual = env.succeed(&["man"]).stdout;
    let commands = [
        "CREATE",
        "START",
        "STOP",
        "RESTART",
        "SHELL",
        "COPY",
        "LIST",
        "DELETE",
        "LOGS",
        "SSH-CONFIG",
        "EDIT",
    ];
    for command in commands {
        assert!(
            manual.contains(&format!("\"CALLAO {command}\"")),
            "{command}"
        );
    }
    // What `start` runs is nobody's business.
    assert!(
        !manual.contains("supervise") && !env.succeed(&["--help"]).stdout.contains("supervise")
    );
}

#[test]
fn help_of_service() {
    let env = TestEnvironment::new();
    let help = env.succeed(&["service", "--help"]).stdout;
    let (commands, rest) = help.split_once("\nOptions:").expect("the commands");
    let (_, notes) = rest
        .split_once("[default: ~/.cache]\n")
        .expect("the last flag");
    assert_snapshot!(commands, @r##"
    Have systemd run `callao serve` for you

    Usage: callao service [OPTIONS] <COMMAND>

    Commands:
      install  Write the unit and enable it: callao serve starts when you log in
      status   Say whether the unit is there, enabled and active, and whether a daemon answers
      remove   Stop it, disable it, and remove the unit
      help     Print this message or the help of the given subcommand(s)
    "##);
    assert_snapshot!(notes, @r##"
    The unit is ~/.config/systemd/user/callao.service. Variables that say where callao
    keeps and finds things (CALLAO_..., XDG_..., IPFS_PATH, proxies), --config and
    --cache-dir are taken over as they are at this moment: install it again when they
    change. What callao serve does is in the settings; callao service status shows
    whether it does it.

    A user's services run while the user is logged in. For a server:
      loginctl enable-linger

    Exit code 2: there is no systemd that could be asked, or the unit is not from
    callao; 7: another callao serve runs already.
    "##);
    let help = env.succeed(&["service", "install", "--help"]).stdout;
    assert!(help.contains("--now"), "{help}");
}

#[test]
fn help_of_lock() {
    let env = TestEnvironment::new();
    let help = env.succeed(&["lock", "--help"]).stdout;
    let (own, rest) = help
        .split_once("\nWhere to look:")
        .expect("the flags of sources");
    assert_snapshot!(own, @r##"
    Write the digest and the CID of every file into a template

    Usage: callao lock [OPTIONS] <TEMPLATE>

    Arguments:
      <TEMPLATE>
              Template to change in place, or - to read it from stdin and print it

    Options:
          --arch <ARCH>
              Only files for these architectures [default: all]

          --profile <PROFILE>
              How CIDs are made: kubo-cid-v1 is `ipfs add --cid-version=1`
              
              [default: kubo-cid-v1]
              [possible values: unixfs-v0-2015, kubo-cid-v1, kubo-cid-v1-dag-pb, kubo-raw-leaves,
              legacy-1mib, unixfs-v1-2025]

          --check
              Write nothing; say whether all digests and CIDs are there and name the bytes

          --allow-unpinned
              With --check: entries with neither digest nor CID are no fault

          --dry-run
              Write nothing; print a unified diff

          --add-ipfs
              Put an entry with location ipfs://CID/name in front of each entry that has a digest or a
              CID

          --pin-latest
              Lock entries with neither digest nor CID ("latest") to what they are now

          --sums
              Compare with the checksums that the origin publishes beside each file (SHA256SUMS,
              CHECKSUM and so on)

          --key <FILE>
              The checksums must be signed by one of these OpenPGP certificates (armoured or not)
              
              [alias: --keyring]

          --lock-seconds <SECONDS>
              How long to wait for another process that is busy with the same file

      -h, --help
              Print help (see a summary with '-h')
    "##);
    let (_, examples) = rest
        .split_once("[default: ~/.cache]\n")
        .expect("the last flag");
    assert_snapshot!(examples, @r##"
    Every file of the template (image, kernel, initrd, archive) is looked for in the
    cache or fetched into it, and its digest and CID are written beside its location.
    Comments, order, quotes and indentation stay as they are. Files of a `base:` are
    locked in the base.

    With --check nothing is written. Exit code 5: a digest or a CID does not name the
    bytes; 8: one is missing.

    Examples:
      callao lock template.yaml
      callao lock template.yaml --dry-run | less
      callao lock template.yaml --check --arch x86_64
      callao lock - < template.yaml > locked.yaml
    "##);
}

#[test]
fn help_of_cache() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.succeed(&["cache", "--help"]).stdout, @r##"
    Look at the cache, clear it up, and repair it

    Usage: callao cache [OPTIONS] <COMMAND>

    Commands:
      list     List what is in Lima's cache and what was added: size, age, URLs, digest, CID, how
               verified
      verify   Read everything again and say which byte ranges of which file are bad
      prune    Remove entries that are old, that nothing refers to, or that are too much
      repair   Fetch the damaged pieces of files again, and nothing else
      rebuild  Make the catalogue anew from the files: each is read once
      help     Print this message or the help of the given subcommand(s)

    Options:
      -h, --help  Print help

    Common options:
          --json             Print every event and result on stdout as JSON, one object a line, each
                             with "v":1
          --no-progress      Show no progress
      -q, --quiet            Print errors, warnings and results only
      -v, --verbose          Print more: every source that is asked
          --config <FILE>    Settings file [default: ~/.config/callao/config.toml]
          --cache-dir <DIR>  Directory that holds Lima's cache (lima/) and callao's own (callao/)
                             [default: ~/.cache]
    "##);
}

#[test]
fn usage_errors_have_exit_code_2() {
    let env = TestEnvironment::new();
    let lines: [&[&str]; 12] = [
        &[],
        &["no-such-command"],
        &["get"],
        &["get", "template.yaml", "--no-such-flag"],
        &["get", "s3://host/image"],
        &["get", "https://host/a.img", "--digest", "sha256:abc"],
        &["get", "https://host/a.img", "--cid", "bafyx"],
        &["get", "https://host/a.img", "--mirror", "ftp://host/a.img"],
        &["get", "https://host/a.img", "--kubo", "nowhere"],
        &[
            "get",
            "https://host/a.img",
            "https://host/b.img",
            "--digest",
            "sha256:abc",
        ],
        &["get", "https://host/a.img", "--only", "carrier-pigeon"],
        &["add"],
    ];
    for line in lines {
        assert_eq!(env.run(line).code, Some(2), "{line:?}");
    }
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--digest", "sha256:abc"])), @r##"
    exit 2
    error: --digest: `sha256:abc` is not a digest: sha256 has 64 hexadecimal digits, this has 3
    "##);
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--cid", "bafyx"])), @r##"
    exit 2
    error: --cid: `bafyx` is not a CID: characters outside its multibase
    "##);
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--kubo", "nowhere"])), @r##"
    exit 2
    error: --kubo `nowhere` is neither an address nor a directory
    hint: give the address of the RPC API, such as http://127.0.0.1:PORT, or the repository, such as ~/.ipfs
    "##);
    assert_snapshot!(env.told(&env.run(&["get", "https://host/a.img", "--mirror", "ftp://host/a.img"])), @r##"
    exit 2
    error: --mirror: `ftp://host/a.img` is neither an http(s) URL nor a file
    "##);
    assert_snapshot!(env.told(&env.run(&["get"])), @r##"
    exit 2
    error: WHAT is missing
    hint: callao get --help tells what it can be
    "##);
}

#[test]
fn what_is_not_there_has_exit_code_3() {
    let env = TestEnvironment::new();
    assert_snapshot!(env.told(&env.run(&["get", "missing.img"])), @r##"
    exit 3
    error: there is no file `missing.img`
    hint: WHAT is a template, a URL, ipfs://CID, a CID or a path; see callao get --help
    "##);
    assert_snapshot!(env.told(&env.run(&["add", "missing.img"])), @r##"
    exit 3
    error: there is no file `missing.img`
    "##);
}

#[test]
fn wrong_settings_are_named() {
    let mut env = TestEnvironment::new();
    env.set("discovry = \"none\"\n");
    assert_snapshot!(env.told(&env.run(&["cache", "list"])), @r##"
    exit 2
    error: settings `$DIR/config.toml`: TOML parse error at line 1, column 1
      |
    1 | discovry = "none"
      | ^^^^^^^^
    unknown field `discovry`, expected one of `discovery`, `gateways`, `routers`, `offline`, `cache_dir`, `kubo`, 
          `peers`, `serve`, `registries`, `machines`, `locks`, `network`
    "##);
}

#[test]
fn completions_and_the_manual_are_printed() {
    let env = TestEnvironment::new();
    assert!(
        env.succeed(&["completions", "bash"])
            .stdout
            .contains("-F _callao callao")
    );
    let page = env.succeed(&["man"]).stdout;
    assert!(
        page.starts_with(".ie")
            && page.contains("EXIT CODES")
            && page.contains("discovery = \"public\"")
    );
}
