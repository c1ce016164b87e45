//! Signatures made by another implementation, and by logs.

#![expect(clippy::disallowed_macros, reason = "a test that is skipped says so")]

use std::path::PathBuf;
use std::process::Command;

use ct_model::ctlog::Hash;
use ct_model::ctlog::head::TreeHead;
use ct_model::ctlog::list::{LogList, Urls};

use super::*;

// Keys and signatures are of Python's `cryptography`.

const P256: &str = "\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESb5nctRyW5taQifln7IC7YLIUWM832+OndFl/fMNlH70JBKbNOSur+0w8349vFDGzMfNXDhBK4\
    cKpLSog0lBvw==";
const RSA: &str = "\
    MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAtyd4+G9Z5GivADTqrNFiDSN3iu+IaOBGzpFe05r4HBT7axM+HPHeeTmjhUWNhnByeg\
    I6CsQmSWczF+SnVPRF+auA6kkX0/T5uMWn78O3UF/WuG/whKnURwKoE7Gtn8uV0ZG12v08AAgb7V+XAlWFSAKXgVKIQ7TcK/aVqXRP8tcCiIOn\
    /qs4Srmm7NlcKMkouirmwJR3LEOgw9c3EyfaOfl87vT/HWAszH5SfDrcetNk7F5lSlxVU8ceH5qCQnuGgHRMM3NcLsg25kSzIafRf+rquR0h4X\
    n1VJzi/fDGPpk6OLRu+uJcdGjrfRBlIXZtgN1ZBiTeZW2nN9Xn0JsB8QIDAQAB";
const P384: &str = "\
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEH8RcYq/RDSwgpzIxZufFIQXk9ZVFAHGmu3q/aEzWu7X1hLGt4D7MnBuso6fVU9mBPSercjNSlszClR\
    DfkfA5AQrhTCeMtiy98hJKsaNykBy+8TCJ/R3k869AC2IXqLjx";
const RSA_1024: &str = "\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDGmtXgE+K+urS2UvE6EAGIwuoJPxKMUUyr0XjeDCZzHNZIVpGoJt7hu14h9x/FQdaCS7Rprj\
    +SiVRIZTXfD06vCMBTwcdvucFygHAitHPwgXeobyw59zZmRTE8aPlepG4Yny8An3VX7lIie5D7WGpmP+23v4l/nLknfX83OgcaEQIDAQAB";

/// Of [`head`], with P256.
const SIGNED_ECDSA: &str =
    "BAMASDBGAiEA9yDCLdslAYL3CyQ4psDmnlir9r4Cz1TCn98NXfUZJDQCIQC8MZ182h0BcQVDAzsSGiad9Zu0EpWZ6vQOQXqeapxe+Q==";
/// Of [`head`], with RSA.
const SIGNED_RSA: &str = "\
    BAEBAAyPCKGQdY7FYFy/+B3s6oBhpuT5OyT3rXwPAZiCFHSfNphHfGxFMoXYWWGWdfE0Bj6b1GJ3XDJzuOIgvURMh12QSuvwrQGSq5z93qyV3F\
    X84EEdwU1BH2DzczKLb4LldHAtbeph8IvhTAAkJIp8wSl7HnCAFsCD2Lc0n8qZ1oauF08LYZCCm7+u0uXreK3tML3SE1su85Age5xw1kPKeGHn\
    SLhfBxWSkvgwqh2YgSJsKOyEQwF4CWCpUtTUvbpQMbo4YpGZTwoQUDy+OqbPozkTFgXacSsL0Kq5/cH41ohg0e/M+UjUxP7IatCmkybJYO8Eqq\
    zrDT8baeNrtdMc6S8=";
/// Of [`head`], with RSA_1024.
const SIGNED_RSA_1024: &str = "\
    BAEAgKiv3RRUgOPsi4brNQxTv2Cz7zVF/j2G7KWCELU/Z0fK+NymNJnbw3lAyHRv/CKXsJyOqN2tAFW7HKMpUXr2jPgO5RAjgByJQchEMKiW6l\
    +m43vtXxVM+F9Gnjo9tU3NYHgleD9ISCfdGrXkFJjhv+MPfYGZiGdSzIgUGByclKnF";
/// Of [`head`], with P384 and SHA-256.
const SIGNED_P384: &str = "\
    BAMAZzBlAjEA9YCEzovTS1ECKeyaoGOyHjavKWFzwCekfiMNgztkOovDjLDhy9kifSGDqVfC+S8rAjAOInzwI/8uUdzYxB6NtPwdBqO63QpMR2\
    FwcqU2O9XBlUZ3+3t8BoMPRriYH1FCRmw=";
/// Of [`LIST`], with RSA.
const LIST_SIGNATURE: &str = "\
    BHVJ0colHsXC0rGFhFm5y6X1UUI0x0FXk7a873R1F8t+kf2Z4NVQ0Hjjn5q27NwV5yNWV5A7VBP1HajwoEi0HBO+gU0FPOi+WpMEi3Cd/p6AyE\
    jal+ef4V/AC7nI/fXM3OZePjGhWHkCqWRuSLGggpTQDRVZrbAEmlya383rkYZqRklmRs0m24fiPTeAMAy5zGcE195BK/sSMP6qhwxXDt7y1Jcg\
    Wp4qnjMWsnjWKVdE7/LL4S2se6rPjVz3J0X7sWeNDhOwddJgPh/SMycO+FAb1rJc4oIctV0K1V7JLLac3fep6BnrDMPvsruGbK8Ym6zggEsf9z\
    drvyZj509uFg==";
const LIST: &[u8] = b"{\"operators\":[]}\n";
const LOG_ID: &str = "CqOYc042ZHoaId9T89Ec26wq5zCvmo5SErkmEYOmWtU=";
const ORIGIN: &str = "log.example.com/2026h2";
const ROOT: &str = "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=";

/// The key of Google's lists, https://www.gstatic.com/ct/log_list/v3/log_list_pubkey.pem
const GOOGLE: &str = "\
    MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAsu0BHGnQ++W2CTdyZyxvHHRALOZPlnu/VMVgo2m+JZ8MNbAOH2cgXb8mvOj8flsX/qPM\
    uKIaauO+PwROMjiqfUpcFm80Kl7i97ZQyBDYKm3MkEYYpGN+skAR2OebX9G2DfDqFY8+jUpOOWtBNr3LrmVcwx+FcFdMjGDlrZ5JRmoJ/SeGKiOR\
    kbbu9eY1Wd0uVhz/xI5bQb0OgII7hEj+i/IPbJqOHgB8xQ5zWAJJ0DmG+FM6o7gk403v6W3S8qRYiR84c50KppGwe4YqSMkFbLDleGQWLoaDSpEW\
    tESisb4JiLaY4H+Kk0EyAhPSb+49JfUozYl+lf7iFN3qRq/SIXXTh6z0S7Qa8EYDhKGCrpI03/+qprwy+my6fpWHi6aUIk4holUCmWvFxZDfixox\
    K0RlqbFDl2JXMBquwlQpm8u5wrsic1ksIv9z8x9zh4PJqNpCah0ciemI3YGRQqSe/mRRXBiSn9YQBUPcaeqCYan+snGADFwHuXCd9xIAdFBolw9R\
    9HTedHGUfVXPJDiF4VusfX6BRR/qaadB+bqEArF/TzuDUr6FvOR4o8lUUxgLuZ/7HO+bHnaPFKYHHSm++z1lVDhhYuSZ8ax3T0C3FZpb7HMjZtpE\
    orSV5ElKJEJwrhrBCMOD8L01EoSPrGlS1w22i9uGHMn/uGQKo28u7AsCAwEAAQ==";

fn bytes(base64: &str) -> Vec<u8> {
    base64_simd::STANDARD.decode_to_vec(base64).unwrap()
}

/// A head whose signature is `signed`.
fn head(signed: &str) -> SignedHead {
    let sth = format!(
        "{{\"tree_size\":3,\"timestamp\":1795132801033,\"sha256_root_hash\":\"{ROOT}\",\"tree_head_signature\":\"{signed}\"}}"
    );
    SignedHead::from_sth(sth.as_bytes()).unwrap()
}

#[track_caller]
fn check(key: &str, signed: &SignedHead, want: Result<(), VerifyError>) {
    assert_eq!(PublicKey::from_spki(&bytes(key)).and_then(|key| key.verify_head(signed)), want);
}

#[test]
fn heads() {
    check(P256, &head(SIGNED_ECDSA), Ok(()));
    check(RSA, &head(SIGNED_RSA), Ok(()));
    check(RSA, &head(SIGNED_ECDSA), Err(VerifyError::Algorithm));
    check(P256, &head(SIGNED_RSA), Err(VerifyError::Algorithm));
}

#[test]
fn keys_that_are_refused() {
    check(P384, &head(SIGNED_P384), Err(VerifyError::Key));
    check(RSA_1024, &head(SIGNED_RSA_1024), Err(VerifyError::Signature));
    for key in ["", "MAA=", "AAAA", LOG_ID] {
        check(key, &head(SIGNED_ECDSA), Err(VerifyError::Key));
    }
    // A point that is not on the curve.
    let mut off = bytes(P256);
    off[90] ^= 1;
    assert_eq!(PublicKey::from_spki(&off).unwrap().verify_head(&head(SIGNED_ECDSA)), Err(VerifyError::Signature));
}

#[test]
fn every_bit_counts() {
    for (key, signed) in [(P256, SIGNED_ECDSA), (RSA, SIGNED_RSA)] {
        let good = head(signed);
        let key = PublicKey::from_spki(&bytes(key)).unwrap();
        let refused = |signed: &SignedHead| assert!(key.verify_head(signed).is_err());
        refused(&SignedHead { head: TreeHead { size: 4, ..good.head }, ..good.clone() });
        refused(&SignedHead { head: TreeHead { timestamp_ms: 0, ..good.head }, ..good.clone() });
        refused(&SignedHead { head: TreeHead { root: [0; 32], ..good.head }, ..good.clone() });
        for at in 0..good.signature.signature.len() {
            let mut spoilt = good.clone();
            spoilt.signature.signature[at] ^= 1;
            refused(&spoilt);
        }
        for (hash, algorithm) in [(2, good.signature.algorithm), (5, good.signature.algorithm), (4, 0), (4, 2)] {
            let signature = DigitallySigned { hash, algorithm, ..good.signature.clone() };
            assert_eq!(key.verify_head(&SignedHead { signature, ..good.clone() }), Err(VerifyError::Algorithm));
        }
    }
}

#[test]
fn checkpoints() {
    let signed = "g1JEXwAAAaH2QMAJBAMASDBGAiEA9yDCLdslAYL3CyQ4psDmnlir9r4Cz1TCn98NXfUZJDQCIQC8MZ182h0BcQVDAzsSGiad9Zu0EpWZ6vQOQXqeapxe+Q==";
    let note = format!("{ORIGIN}\n3\n{ROOT}\n\n\u{2014} {ORIGIN} {signed}\n");
    let log_id: Hash = bytes(LOG_ID).try_into().unwrap();
    let head = SignedHead::from_checkpoint(note.as_bytes(), ORIGIN, &log_id).unwrap();
    assert_eq!(head.head.timestamp_ms, 1_795_132_801_033);
    check(P256, &head, Ok(()));
}

#[test]
fn lists() {
    let wrapped = bytes(RSA);
    let wrapped = base64_simd::STANDARD.encode_to_string(wrapped);
    let lines: Vec<&str> = wrapped.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\r\n"));
    let key = PublicKey::from_pem(&pem).unwrap();
    assert_eq!(Ok(&key), PublicKey::from_spki(&bytes(RSA)).as_ref());
    let signature = bytes(LIST_SIGNATURE);
    assert_eq!(key.verify_list(LIST, &signature), Ok(()));
    assert_eq!(key.verify_list(&LIST[..LIST.len() - 1], &signature), Err(VerifyError::Signature));
    assert_eq!(key.verify_list(LIST, &signature[1..]), Err(VerifyError::Signature));
    assert_eq!(key.verify_list(LIST, &[]), Err(VerifyError::Signature));
    let other = PublicKey::from_spki(&bytes(P256)).unwrap();
    assert_eq!(other.verify_list(LIST, &signature), Err(VerifyError::Algorithm));
    for pem in ["", "-----BEGIN PUBLIC KEY-----", &pem.replace("PUBLIC", "PRIVATE"), &pem.replace("MII", "*")] {
        assert_eq!(PublicKey::from_pem(pem), Err(VerifyError::Pem));
    }
}

#[test]
fn noise_is_survived() {
    // xorshift64
    let mut state = 15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for key in [P256, RSA] {
        let key = bytes(key);
        for end in 0..key.len() {
            assert_eq!(PublicKey::from_spki(&key[..end]), Err(VerifyError::Key));
        }
        assert_eq!(PublicKey::from_spki(&[&key[..], &[0]].concat()), Err(VerifyError::Key));
        for _ in 0..2_000 {
            let mut spoilt = key.clone();
            for _ in 0..3 {
                let at = random() as usize % spoilt.len();
                spoilt[at] = random() as u8;
            }
            if let Ok(spoilt) = PublicKey::from_spki(&spoilt) {
                let _ = spoilt.verify_head(&head(SIGNED_ECDSA));
                let _ = spoilt.verify_head(&head(SIGNED_RSA));
            }
        }
    }
}

/// A folder of real and generated answers of logs, which are not part of this repository.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("CT_STREAM_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: CT_STREAM_DATA names no folder of data from logs");
    }
    folder
}

/// The heads of real logs, by keys that their lists give.
#[test]
fn real_heads() {
    let Some(folder) = data() else { return };
    let read = |path: &str| std::fs::read(folder.join("ct/files").join(path)).unwrap();
    let description: serde_json::Value =
        serde_json::from_slice(&read("FiloSottile__sunlight/tree/log.v3.json")).unwrap();
    let field = |name: &str| bytes(description[name].as_str().unwrap());
    let key = PublicKey::from_spki(&field("key")).unwrap();
    let log_id: Hash = field("log_id").try_into().unwrap();
    for path in
        ["tree/checkpoint", "witness/000de184301123b9278c086a7d9f68c9577e83872224c197058fd90784ea9706/checkpoint"]
    {
        let note = read(&format!("FiloSottile__sunlight/{path}"));
        let head = SignedHead::from_checkpoint(&note, "rome2026h1.example.org", &log_id).unwrap();
        assert_eq!(key.verify_head(&head), Ok(()));
    }
}

/// Google's list of May 2026 and its signature.
#[test]
fn a_real_list() {
    let Some(folder) = data() else { return };
    let folder = folder.join("ct/files/reloading01__certstream-server-rust");
    let list = std::fs::read(folder.join("google_v3_log_list.json")).unwrap();
    let signature = std::fs::read(folder.join("google_v3_log_list.sig")).unwrap();
    let key = PublicKey::from_spki(&bytes(GOOGLE)).unwrap();
    assert_eq!(key.verify_list(&list, &signature), Ok(()));
    assert_eq!(key.verify_list(&list[1..], &signature), Err(VerifyError::Signature));
    for log in LogList::parse(&list).unwrap().logs {
        assert!(PublicKey::from_spki(&log.key).is_ok(), "{}", log.name);
    }
}

/// Every head of the generated logs, by the key in their list.
#[test]
fn generated_heads() {
    let Some(folder) = data() else { return };
    let files = tempfile::tempdir().unwrap();
    let archive = folder.join("synthetic/ctlog-4k-entries.tar.zst");
    let tar = Command::new("tar").arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(files.path()).status();
    assert!(tar.expect("tar runs").success());
    let read = |path: &str| std::fs::read(files.path().join("ctlog").join(path)).unwrap();
    let list = LogList::parse(&read("log_list.json")).unwrap();
    let mut heads = 0;
    for log in &list.logs {
        let folder = log.name.split_once('/').unwrap().1;
        let head = match &log.urls {
            Urls::Rfc6962 { .. } => SignedHead::from_sth(&read(&format!("{folder}/ct/v1/get-sth"))),
            Urls::Tiled { .. } => {
                let note = read(&format!("{folder}/checkpoint"));
                SignedHead::from_checkpoint(&note, log.urls.origin(), &log.id)
            }
        };
        let key = PublicKey::from_spki(&log.key).unwrap();
        assert_eq!(key.verify_head(&head.unwrap()), Ok(()), "{}", log.name);
        heads += 1;
    }
    assert_eq!(heads, 23);
}
