//! A peer on the plugin's socket that keeps to no rule, while a rollouts controller uses the same plugin.
//!
//! What it may cost is memory up to a limit. It may never cost the controller an answer.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::host::{self, Host};
use crate::shop::{SECRET, Shop};

/// The most that the plugin may ever have held, in kB. Idle it holds some 25 MB in a debug build, and one connection is
/// allowed 36 MiB of arriving requests and 48 MiB of calls under way; what lies in yamux's windows and the allocator's
/// leftovers come on top.
const MOST_MEMORY: u64 = 160_000;

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a peer tries to send before it takes it that nobody reads.
const UNREAD: Duration = Duration::from_secs(2);

/// How many controllers' workers are at it while a peer is hostile.
const WORKERS: usize = 4;

// Frames of yamux (spec.md of hashicorp/yamux).
const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;
const SYN: u16 = 1;
const FIN: u16 = 4;
const RST: u16 = 8;

/// What a stream may send before it is told of more, in bytes.
const FIRST_WINDOW: usize = 256 * 1024;

/// Requests of a Go host, and the acknowledgement of the plugin's stream.
const DISPENSE: &[u8] = include_bytes!("../data/wire/ctl_1_dispense.req.bin");
const PING_CALL: &[u8] = include_bytes!("../data/wire/ctl_2_ping.req.bin");
const PLUGIN_CALLS: [&[u8]; 4] = [
    include_bytes!("../data/wire/plg_01_init.req.bin"),
    include_bytes!("../data/wire/plg_02_type.req.bin"),
    include_bytes!("../data/wire/plg_03_updatehash.req.bin"),
    include_bytes!("../data/wire/plg_04_setweight.req.bin"),
];
/// A SetWeight whose types were defined by the calls before it. Its Rollout is refused, which takes two seconds.
const SET_WEIGHT: &[u8] = include_bytes!("../data/wire/plg_05_setweight0.req.bin");
const FIRST_CLAIM: &[u8] = &[1, 0, 0, 0];

/// The same call once its type is known: without the definition in front.
const DISPENSE_AGAIN: &[u8] = DISPENSE.split_at(47).1;

/// How much of a large request is sent at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// One connection, without manners.
struct Peer(UnixStream);

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    flags: u16,
    stream: u32,
    length: u32,
}

/// A large request on its way.
struct Sending {
    id: u32,
    granted: usize,
    left: usize,
}

/// Runs what a peer does beside a controller at work, and sees that the controller never missed an answer.
async fn beside_a_controller(harm: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let pid = host.connect().await?.result.pid;
    host.set_weight(&shop.rollout(), 10).await?;
    let socket = host.sockets()?.pop().context("the plugin has a socket")?;
    let calls = json!({"rollout": shop.rollout(), "weight": 10});
    let harmed = Cell::new(false);
    let at_work = async {
        while !harmed.get() {
            for method in ["SetWeight", "VerifyWeight", "RemoveManagedRoutes"] {
                host.connect().await?;
                let spread = host.load(method, calls.clone(), 50, WORKERS).await?.result;
                ensure!(spread.errors.is_empty(), "{method}: {:?}", spread.errors);
            }
        }
        Ok(())
    };
    tokio::try_join!(async { harm(&socket).await.map(|()| harmed.set(true)) }, at_work)?;
    assert_eq!(host.connect().await?.result.pid, pid, "it is the same process");
    host.set_weight(&shop.rollout(), 20).await?;
    assert_eq!(shop.weights().await?, ["80:20", "80:20"]);
    let most = most_memory(pid)?;
    ensure!(most < MOST_MEMORY, "the plugin held {most} kB");
    assert!(host.kill().await?.result.clean);
    Ok(())
}

#[tokio::test]
async fn random_frames() -> Result<()> {
    beside_a_controller(async |socket| {
        let mut random = fastrand::Rng::with_seed(4);
        for _ in 0..300 {
            let mut peer = Peer::connect(socket).await?;
            let mut bytes = Vec::new();
            for _ in 0..random.usize(1..200) {
                let length = random.u32(0..300);
                // Now and then a kind that there is not, which ends the connection.
                let kinds = if random.u8(..) == 0 { 6 } else { 3 };
                let kind = random.u8(0..kinds);
                bytes.extend(frame(kind, random.u16(0..16), random.u32(0..12), length));
                if kind == DATA {
                    bytes.extend((0..length).map(|_| random.u8(..)));
                }
            }
            // The plugin may hang up at any frame.
            let _ = peer.send(&bytes).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn windows_that_are_not_kept() -> Result<()> {
    beside_a_controller(async |socket| {
        // More than was granted, on a stream that is read at once and on one that waits for its claim.
        for stream in [1, 7] {
            let mut peer = Peer::with_streams(socket).await?;
            // A message of 8,000,000 bytes is announced, and twice as many are sent at once.
            let flood = [&[0xfd, 0x7a, 0x12, 0x00][..], &vec![1; 16_000_000]].concat();
            let _ = peer.send(&data(stream, &flood)).await?;
            peer.is_refused(stream).await?;
        }
        // Grants of more than there is.
        let mut peer = Peer::with_streams(socket).await?;
        let grants = frame(WINDOW, 0, 1, u32::MAX).repeat(100);
        let _ = peer.send(&grants).await?;
        peer.is_hung_up().await
    })
    .await
}

#[tokio::test]
async fn a_hundred_thousand_streams() -> Result<()> {
    beside_a_controller(async |socket| {
        // Opened and left half-open by a peer that reads the refusals.
        let peer = Peer::with_streams(socket).await?;
        let (mut reader, mut writer) = peer.0.into_split();
        let reading = tokio::spawn(async move {
            let mut refused = 0;
            // All but the few that fit.
            while refused < 99_980 {
                refused += usize::from(next_frame(&mut reader).await?.flags & RST != 0);
            }
            anyhow::Ok(())
        });
        for first in (9..200_009_u32).step_by(2000) {
            let opened: Vec<u8> = (first..first + 2000).step_by(2).flat_map(|id| frame(WINDOW, SYN, id, 0)).collect();
            writer.write_all(&opened).await?;
        }
        timeout(PATIENCE, reading).await???;
        // Opened and reset one by one.
        let mut peer = Peer::with_streams(socket).await?;
        for first in (9..200_009_u32).step_by(2000) {
            let opened: Vec<u8> = (first..first + 2000)
                .step_by(2)
                .flat_map(|id| [frame(WINDOW, SYN, id, 0), frame(WINDOW, RST, id, 0)].concat())
                .collect();
            // Nobody reads the refusals here, so the plugin stops reading too.
            if !peer.send(&opened).await? {
                return Ok(());
            }
        }
        bail!("the plugin has room for 100,000 answers that nobody reads")
    })
    .await
}

#[tokio::test]
async fn half_open_streams() -> Result<()> {
    beside_a_controller(async |socket| {
        for flags in [SYN, SYN | FIN, SYN | RST, FIN, RST] {
            let mut peer = Peer::connect(socket).await?;
            for id in 0..30 {
                let _ = peer.send(&frame(WINDOW, flags, id, 0)).await?;
                let _ = peer.send(&frame(DATA, flags, id, 0)).await?;
            }
        }
        // Half a frame, half a call, half a claim, and a peer that stays.
        let mut peers = Vec::new();
        for half in [&frame(DATA, SYN, 9, 100)[..7], &data(1, &PING_CALL[..20]), &data(7, &FIRST_CLAIM[..2])] {
            let mut peer = Peer::with_streams(socket).await?;
            peer.tell(half).await?;
            peers.push(peer);
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn requests_that_are_too_large_or_too_deep() -> Result<()> {
    beside_a_controller(async |socket| {
        // A message of 8 GiB, by its length alone.
        let huge = [0xfb, 2, 0, 0, 0, 0];
        // `type List []List`, ten thousand deep.
        let list = [10, 0xff, 0x83, 2, 1, 0, 1, 0xff, 0x84, 0, 0];
        let deep = [&list[..], &[0xfe, 0x27, 0x14, 0xff, 0x84, 0], &[1; 10_001]].concat();
        for bytes in [&huge[..], &deep] {
            let mut peer = Peer::with_streams(socket).await?;
            peer.tell(&data(1, bytes)).await?;
            peer.is_refused(1).await?;
            // The stream is gone and the connection is not.
            peer.tell(&frame(PING, SYN, 0, 77)).await?;
            peer.is_told(PING, 2, 0).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn large_requests_on_all_streams_at_once() -> Result<()> {
    beside_a_controller(async |socket| {
        let mut peer = Peer::connect(socket).await?;
        let streams: Vec<u32> = (0..16).map(|number| 2 * number + 1).collect();
        let opened: Vec<u8> = streams.iter().flat_map(|id| frame(WINDOW, SYN, *id, 0)).collect();
        peer.tell(&opened).await?;
        peer.tell(&data(1, DISPENSE)).await?;
        for _ in 2..=13 {
            peer.tell(&data(1, DISPENSE_AGAIN)).await?;
        }
        for _ in 1..=13 {
            peer.is_told(DATA, 0, 1).await?;
        }
        // Each stream announces 8,000,000 bytes and keeps back the last of them.
        let mut sending: Vec<Sending> = Vec::new();
        for (number, id) in (1_u8..).zip(&streams[3..]) {
            let start = [number, 0, 0, 0, 0xfd, 0x7a, 0x12, 0x00];
            peer.tell(&data(*id, &start)).await?;
            sending.push(Sending { id: *id, granted: FIRST_WINDOW - start.len(), left: 7_900_000 });
        }
        let mut refused = 0;
        while !sending.is_empty() {
            let next = sending.iter_mut().find(|sending| sending.granted >= PIECE);
            if let Some(sending) = next {
                peer.tell(&data(sending.id, &[1; PIECE])).await?;
                sending.granted -= PIECE;
                sending.left = sending.left.saturating_sub(PIECE);
            } else {
                let header = timeout(PATIENCE, peer.frame()).await??;
                let of = sending.iter().position(|sending| sending.id == header.stream);
                if let (Some(place), WINDOW) = (of, header.kind) {
                    sending[place].granted += header.length as usize;
                    if header.flags & RST != 0 {
                        sending.swap_remove(place);
                        refused += 1;
                    }
                }
            }
            sending.retain(|sending| sending.left > 0);
        }
        ensure!((1..13).contains(&refused), "{refused} of 13 streams were refused");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn many_connections() -> Result<()> {
    beside_a_controller(async |socket| {
        let mut peers = Vec::new();
        for _ in 0..500 {
            // The queue of the listening socket may be full for a moment.
            peers.push(timeout(PATIENCE, Peer::connect(socket)).await??);
        }
        // All but a few are hung up on at once, those few because they never say anything.
        for peer in &mut peers {
            peer.is_hung_up().await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn answers_that_nobody_reads() -> Result<()> {
    beside_a_controller(async |socket| {
        let pings = frame(PING, SYN, 0, 1).repeat(5000);
        let refused: Vec<u8> = (101..10_101).step_by(2).flat_map(|id| frame(WINDOW, SYN, id, 0)).collect();
        for flood in [pings, refused] {
            let mut peer = Peer::with_streams(socket).await?;
            let mut sent = 0;
            while peer.send(&flood).await? {
                sent += flood.len();
                ensure!(sent < 64 << 20, "the plugin takes {sent} bytes and more");
            }
        }
        // Calls up to the windows' ends, with more room for the answers than they will ever need.
        let mut peer = Peer::with_streams(socket).await?;
        for stream in [1, 7] {
            peer.tell(&frame(WINDOW, 0, stream, 1 << 30)).await?;
        }
        for call in PLUGIN_CALLS {
            peer.tell(&data(7, call)).await?;
        }
        let room = FIRST_WINDOW - FIRST_CLAIM.len() - PLUGIN_CALLS.concat().len();
        let _ = peer.send(&data(7, &SET_WEIGHT.repeat(room / SET_WEIGHT.len()))).await?;
        let _ = peer.send(&data(1, &PING_CALL.repeat(10_000))).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn peers_that_leave_in_the_middle() -> Result<()> {
    beside_a_controller(async |socket| {
        for _ in 0..50 {
            let mut peer = Peer::with_streams(socket).await?;
            for call in PLUGIN_CALLS {
                peer.tell(&data(7, call)).await?;
            }
            // These are held for two seconds. When they are answered, nobody is there.
            peer.tell(&data(7, &SET_WEIGHT.repeat(100))).await?;
            // No window was opened again, and half of these answers find no room.
            let _ = peer.send(&data(1, &PING_CALL.repeat(5000))).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_call_that_hangs_in_aws_delays_nobody() -> Result<()> {
    let shop = Shop::open().await?;
    let credentials = [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let host = shop.host_with(&["--allow", "*=*"], &credentials).await?;
    let settled = shop.rollout();
    host.set_weight(&settled, 10).await?;
    // From now on AWS takes far longer than this test.
    let endless = lab::Fault::new("*", lab::Effect::DelayBefore { ms: 600_000 }).times(1000);
    shop.lab.faults().add(endless.clone())?;
    let entry = json!({"stableTargetGroupArn": shop.arns.stable, "canaryTargetGroupArn": shop.arns.canary,
        "ruleArns": [shop.arns.http_rule], "gates": {"rising": false, "promotion": false}});
    let hanging = host::rollout("shop", "hangs", &entry);
    let held = host.set_weight(&hanging, 50);
    tokio::pin!(held);
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    // A fault counts the calls it meets.
    while shop.lab.faults().list() == [endless.clone()] {
        tokio::select! {
            answer = &mut held => bail!("it should be held: {answer:?}"),
            _ = ticks.tick() => {}
        }
    }
    let others = others_are_served(&host, &settled, &hanging);
    tokio::select! {
        answer = &mut held => bail!("it should be held: {answer:?}"),
        served = timeout(PATIENCE, others) => served??,
    }
    let killed = host.kill().await?;
    assert!(killed.result.clean, "{killed:?}");
    assert!(held.await.is_err());
    Ok(())
}

/// A ping, calls of another Rollout, and calls of the same that need no AWS, while a call is held.
async fn others_are_served(host: &Host, settled: &serde_json::Value, hanging: &serde_json::Value) -> Result<()> {
    for _ in 0..10 {
        host.connect().await?;
        host.set_weight(settled, 10).await?;
        assert_eq!(host.verify_weight(settled, 10).await?, Some(true));
        for rollout in [settled, hanging] {
            host.call("RemoveManagedRoutes", json!({"rollout": rollout})).await?;
            let hashes = json!({"rollout": rollout, "canaryHash": "canary", "stableHash": "stable"});
            host.call("UpdateHash", hashes).await?;
        }
        assert_eq!(host.verify_weight(hanging, 50).await?, Some(false));
    }
    Ok(())
}

impl Peer {
    /// A connection. The plugin may hang up on it at once.
    async fn connect(socket: &Path) -> Result<Self> {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let connected = async {
            loop {
                match UnixStream::connect(socket).await {
                    // The queue of the listening socket is full for a moment.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => drop(ticks.tick().await),
                    connected => return connected,
                }
            }
        };
        Ok(Self(timeout(PATIENCE, connected).await.context("nobody accepts")??))
    }

    /// A connection with the streams of a host, the last of which is claimed for the plugin. The plugin may still be
    /// busy with the end of earlier connections, and has room for few.
    async fn with_streams(socket: &Path) -> Result<Self> {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        let served = async {
            loop {
                let mut peer = Self::connect(socket).await?;
                if peer.begins_as_a_host_does().await? {
                    return Ok(peer);
                }
                ticks.tick().await;
            }
        };
        timeout(PATIENCE, served).await.context("the plugin has no room")?
    }

    async fn begins_as_a_host_does(&mut self) -> Result<bool> {
        let streams = [1, 3, 5, 7].map(|id| frame(WINDOW, SYN, id, 0)).concat();
        // The dispense is answered before the claim is sent, as a host waits for it.
        if !self.send(&[streams, data(1, DISPENSE)].concat()).await? || self.is_told(DATA, 0, 1).await.is_err() {
            return Ok(false);
        }
        self.send(&data(7, FIRST_CLAIM)).await
    }

    /// Sends all of it, to a plugin that reads.
    async fn tell(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(timeout(PATIENCE, self.0.write_all(bytes)).await.context("the plugin does not read")??)
    }

    /// Sends all of it. False when the plugin has hung up or reads no further.
    async fn send(&mut self, bytes: &[u8]) -> Result<bool> {
        Ok(timeout(UNREAD, self.0.write_all(bytes)).await.is_ok_and(|sent| sent.is_ok()))
    }

    /// Waits for a frame of this kind and stream that has these flags.
    async fn is_told(&mut self, kind: u8, flags: u16, stream: u32) -> Result<()> {
        let told = async {
            loop {
                let header = self.frame().await?;
                if (header.kind, header.stream) == (kind, stream) && header.flags & flags == flags {
                    return Ok(());
                }
            }
        };
        timeout(PATIENCE, told).await.with_context(|| format!("no frame {kind} came on stream {stream}"))?
    }

    /// Waits until the plugin has given the stream up, or the whole connection.
    async fn is_refused(&mut self, stream: u32) -> Result<()> {
        let ends = |header: Header| header.kind == GO_AWAY || (header.stream == stream && header.flags & RST != 0);
        let refused = async { while matches!(self.frame().await, Ok(header) if !ends(header)) {} };
        timeout(PATIENCE, refused).await.with_context(|| format!("stream {stream} is still open"))
    }

    /// Waits until the plugin has hung up, by a word or without.
    async fn is_hung_up(&mut self) -> Result<()> {
        let hung_up = async { while matches!(self.frame().await, Ok(header) if header.kind != GO_AWAY) {} };
        timeout(PATIENCE, hung_up).await.context("the connection is still open")
    }

    async fn frame(&mut self) -> Result<Header> {
        next_frame(&mut self.0).await
    }
}

/// Reads a frame, and passes over what it carries.
async fn next_frame(connection: &mut (impl AsyncRead + Unpin)) -> Result<Header> {
    let mut header = [0; 12];
    connection.read_exact(&mut header).await?;
    let [_version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = header;
    let flags = u16::from_be_bytes([f0, f1]);
    let (stream, length) = (u32::from_be_bytes([s0, s1, s2, s3]), u32::from_be_bytes([l0, l1, l2, l3]));
    connection.read_exact(&mut vec![0; if kind == DATA { length as usize } else { 0 }]).await?;
    Ok(Header { kind, flags, stream, length })
}

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut frame = vec![0, kind];
    frame.extend(flags.to_be_bytes());
    frame.extend(stream.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame
}

/// Bytes of a stream, in frames that are not too long.
fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let frames = bytes.chunks(FIRST_WINDOW).map(|bytes| {
        let length = u32::try_from(bytes.len()).expect("a chunk is small");
        [frame(DATA, 0, stream, length).as_slice(), bytes].concat()
    });
    frames.collect::<Vec<_>>().concat()
}

/// The most memory that a process has had, in kB (proc_pid_status(5), VmHWM).
fn most_memory(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
