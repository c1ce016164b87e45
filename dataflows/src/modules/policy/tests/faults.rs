//! One fault at a time: a certificate that fails a check, and its neighbour that does not.

use super::made::*;
use super::*;

/// The ids that fail for a certificate, in the profiles `br` and `hygiene`.
#[track_caller]
fn check(made: &Made, want: &[&str]) {
    assert_eq!(failures(&rules(), &made.der(), None), want);
}

fn at(made: Made, from: &str) -> Made {
    made.lasting(from, 10 * 86_400)
}

const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

#[test]
fn serials() {
    let made = |serial: &[u8]| Made { serial: serial.to_vec(), ..Made::new() };
    check(&made(&[0]), &["serial.not_positive", "serial.low_entropy"]);
    check(&made(&[0x80, 1, 2, 3, 4, 5, 6, 7]), &["serial.not_positive"]);
    check(&made(&[1; 20]), &[]);
    check(&made(&[1; 21]), &["serial.long"]);
    // An octet for the sign counts, one that is only padding does not.
    check(&made(&[&[0][..], &[0x80; 20]].concat()), &["serial.long"]);
    check(&made(&[&[0][..], &[1; 20]].concat()), &[]);
    check(&made(&[1; 8]), &[]);
    check(&made(&[1; 7]), &["serial.low_entropy"]);
}
#[test]
fn signatures() {
    let sha1 = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1])]);
    let other = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3])]);
    let made = Made { inner_algorithm: sha1.clone(), outer_algorithm: sha1.clone(), ..Made::new() };
    check(&made, &["sig.sha1"]);
    check(&Made { outer_algorithm: other, ..Made::new() }, &["sig.tbs_mismatch"]);
    assert_eq!(verdict(&rules(), &at(made, "2015-12-31T23:59:59Z").der(), "sig.sha1"), Verdict::NotEffective);
    let root = Made { inner_algorithm: sha1.clone(), outer_algorithm: sha1, ..Made::root() };
    assert_eq!(verdict(&rules(), &root.der(), "sig.sha1"), Verdict::NotApplicable);
}
#[test]
fn alternative_names() {
    check(&Made::new().without(SAN), &["san.missing", "cn.not_copied_from_san"]);
    check(&Made::new().with(SAN, false, sequence(&[])), &["san.empty", "cn.not_copied_from_san"]);
    check(&Made::new().named(&[(0x82, b"www.example.com"), (0x81, b"me@example.com")]), &["san.other_type"]);
    check(&Made::new().dns(&["www.example.com", "WWW.example.com"]), &["san.duplicate"]);
    let entries = sequence(&[der(0x82, &[b"www.example.com"])]);
    check(&Made::new().with(SAN, true, entries.clone()), &["san.critical"]);
    let nobody = Made { subject: sequence(&[]), ..Made::new() };
    check(&nobody, &["san.critical"]);
    check(&nobody.with(SAN, true, entries), &[]);
}
#[test]
fn common_names() {
    let made = |subject| Made { subject, ..Made::new() };
    check(&made(name(&[(COMMON_NAME, "other.example.com")])), &["cn.not_copied_from_san"]);
    check(&made(name(&[(COMMON_NAME, "WWW.example.com")])), &["cn.not_copied_from_san"]);
    check(&made(name(&[(COMMON_NAME, "www.example.com"), (COMMON_NAME, "www.example.com")])), &["cn.extra"]);
    let id = "cn.not_in_san";
    let old = |cn| at(made(name(&[(COMMON_NAME, cn)])), "2021-08-24T00:00:00Z").der();
    assert_eq!(verdict(&rules(), &old("WWW.example.com"), id), Verdict::Pass);
    assert!(matches!(verdict(&rules(), &old("other.example.com"), id), Verdict::Fail(_)));
    let address = Made::new().named(&[(0x87, &[9, 9, 9, 9])]);
    check(&Made { subject: name(&[(COMMON_NAME, "9.9.9.9")]), ..address.clone() }, &[]);
    check(&Made { subject: name(&[(COMMON_NAME, "9.9.9.8")]), ..address }, &["cn.not_copied_from_san"]);
}
#[test]
fn host_names() {
    let check = |host: &str, want: &[&str]| check(&Made::new().dns(&[host]), want);
    check("xn--bcher-kva.example.com", &[]);
    check("a b.example.com", &["name.bad_char"]);
    check(" ", &["name.bad_char", "name.space", "name.unknown_tld"]);
    check("a..example.com", &["name.empty_label"]);
    check("www.example.com.", &["name.empty_label", "name.unknown_tld"]);
    check(&format!("{}.example.com", "a".repeat(63)), &[]);
    check(&format!("{}.example.com", "a".repeat(64)), &["name.long_label"]);
    let label = "a".repeat(49);
    check(&format!("{label}.{label}.{label}.{label}.{label}.com"), &[]);
    check(&format!("{label}.{label}.{label}.{label}.{label}a.com"), &["name.long"]);
    check("under_score.www.example.com", &["name.underscore"]);
    check("www.under_score.com", &["name.underscore_in_registrable", "name.underscore"]);
    check("www.under_score.github.io", &["name.underscore"]);
    check("www.example.local", &["name.unknown_tld"]);
    check("localhost", &["name.unknown_tld"]);
    check("com", &["name.bare_suffix"]);
    check("co.uk", &["name.public_suffix"]);
    // All suffixes below this one have two labels.
    check("ck", &["name.bare_suffix"]);
    check("1.0.0.127.in-addr.arpa", &["name.arpa"]);
    check("8.b.d.0.1.0.0.2.IP6.ARPA", &["name.arpa"]);
    check("in-addr.arpa.example.com", &[]);
    check("ab--cd.example.com", &["name.reserved_label"]);
    check("XN--BCHER-KVA.example.com", &[]);
    check("xn--\u{7f}.example.com", &["name.bad_char", "name.idn_not_decodable"]);
    // u and a combining diaeresis, where NFC has one letter: `"u\u0308".encode("punycode")` in Python is `u-ccb`.
    check("xn--u-ccb.example.com", &["name.idn_not_nfc"]);
    check("*.example.com", &[]);
    check("w*.example.com", &["wildcard.partial"]);
    check("www.*.example.com", &["wildcard.position"]);
    check("*.com", &["wildcard.left_of_suffix"]);
    check("*.co.uk", &["wildcard.left_of_suffix"]);
    check("*.github.io", &[]);
}
#[test]
fn host_names_that_are_no_text() {
    let made = Made::new().named(&[(0x82, b"caf\xe9.example.com")]);
    check(
        &Made { subject: sequence(&[]), ..made }.clone(),
        &["san.critical", "name.bad_char", "name.not_ia5", "name.unknown_tld"],
    );
}
#[test]
fn domains_of_their_time() {
    let id = "name.unknown_tld";
    let verdict_of = |from| verdict(&rules(), &at(Made::new().dns(&["www.example.an"]), from).der(), id);
    assert_eq!(verdict_of("2015-01-01T00:00:00Z"), Verdict::Pass);
    assert!(matches!(verdict_of("2016-01-01T00:00:00Z"), Verdict::Fail(_)));
}
#[test]
fn addresses() {
    // Ends of networks, from IANA's registries of special-purpose addresses.
    let reserved = [
        "0.1.2.3",
        "10.255.255.255",
        "100.64.0.0",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.1.1",
        "172.16.0.0",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.0",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "64:ff9b::1",
        "100::1",
        "2001::1",
        "2001:1ff:ffff::",
        "2001:db8::1",
        "2002::1",
        "3fff:fff::1",
        "fc00::1",
        "fe80::1",
        "ff02::1",
        "4000::1",
    ];
    let public = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2003::1",
        "2606:4700::1",
        "3ffe::1",
    ];
    for (list, want) in [(&reserved[..], true), (&public[..], false)] {
        for text in list {
            let ip = text.parse().expect("an address");
            assert_eq!(super::super::subject::is_reserved(ip), want, "{text}");
        }
    }
    let made =
        Made { subject: sequence(&[]), ..Made::new() }.with(SAN, true, sequence(&[der(0x87, &[&[10, 0, 0, 1]])]));
    check(&made, &["ip.reserved"]);
}
#[test]
fn purposes() {
    let made = |purposes: &[&[u8]]| Made::new().for_purposes(purposes);
    check(&Made::new().without(EKU), &["eku.missing"]);
    check(&made(&[SERVER_AUTH, CLIENT_AUTH]), &["eku.client_auth"]);
    check(&made(&[SERVER_AUTH, ANY_PURPOSE]), &["eku.forbidden"]);
    check(&made(&[SERVER_AUTH, CODE_SIGNING]), &["eku.forbidden"]);
    check(&made(&[SERVER_AUTH, &[0x2a, 3, 4]]), &["eku.extra"]);
    // Its policy says that it is for servers.
    check(&made(&[CLIENT_AUTH]), &["eku.no_server_auth"]);
    let old = |purposes| verdict(&rules(), &at(made(purposes), "2023-09-14T00:00:00Z").der(), "eku.no_tls_auth");
    assert_eq!(old(&[CLIENT_AUTH]), Verdict::Pass);
    assert!(matches!(old(&[ANY_PURPOSE]), Verdict::Fail(_)));
}
#[test]
fn client_auth_becomes_an_error() {
    let policy = rules();
    let level = |from| {
        let made = at(Made::new().for_purposes(&[SERVER_AUTH, CLIENT_AUTH]), from).der();
        let failed = |judgement: &super::super::Judgement| matches!(judgement.verdict, Verdict::Fail(_));
        policy.judge(&made, None).into_iter().find(failed).map(|judgement| judgement.check.level.as_str())
    };
    assert_eq!(level("2026-02-04T00:00:00Z"), None);
    assert_eq!(level("2026-02-05T00:00:00Z"), Some("notice"));
    assert_eq!(level("2027-03-15T00:00:00Z"), Some("error"));
}
#[test]
fn leaves_that_sign() {
    let usage = |bits| Made::new().with(KEY_USAGE, true, vec![3, 2, 0, bits]);
    check(&usage(0x04), &["ku.cert_sign"]);
    check(&usage(0x02), &["ku.crl_sign"]);
    let authority = sequence(&[der(1, &[&[0xff]])]);
    check(&Made::new().with(CONSTRAINTS, true, authority.clone()), &["bc.ca"]);
    check(&Made::root(), &[]);
    check(&Made::root().with(CONSTRAINTS, false, authority), &["bc.not_critical"]);
}
#[test]
fn extensions() {
    check(&Made::new().without(AKI), &["aki.no_keyid"]);
    check(&Made::new().with(AKI, false, sequence(&[der(0x82, &[&[1]])])), &["aki.no_keyid"]);
    check(&Made::new().without(SKI), &["ski.missing"]);
    check(&Made::new().without(AIA), &["aia.missing"]);
    check(&Made::new().without(CRLDP), &[]);
    check(&Made::new().without(CRLDP).without(AIA), &["aia.missing", "crldp.missing"]);
    check(&Made::new().without(POLICIES), &["policies.empty"]);
    let mut twice = Made::new();
    twice.extensions.push(twice.extensions[3].clone());
    check(&twice, &["ext.duplicate"]);
}
#[test]
fn precertificates() {
    let made = Made::new().with(POISON, true, vec![5, 0]);
    check(&made, &[]);
    check(&made.clone().promised(&[(1, Timestamp(0))]), &["ct.precert_with_scts"]);
    check(&made.clone().with(POISON, false, vec![5, 0]), &["ct.poison_not_critical"]);
    check(&made.with(POISON, true, vec![5, 1, 0]), &["ct.bad_poison"]);
}
#[test]
fn lists_of_timestamps() {
    check(&Made::new().promised(&[]), &["ct.empty_list"]);
    check(&Made::new().with(SCT_LIST, false, vec![4, 1, 0]), &["ct.bad_list"]);
    check(&Made::new().promised(&[(1, Timestamp(0))]), &[]);
}
#[test]
fn other_keys() {
    let made = |spki| Made { spki, ..Made::new() };
    check(&made(ec_key(&[0x2b, 0x81, 4, 0, 34])), &[]);
    check(&made(ec_key(&[0x2b, 0x81, 4, 0, 10])), &["key.ec_curve"]);
    let written_out = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]), sequence(&[])]);
    check(&made(sequence(&[written_out, der(3, &[&[0, 4]])])), &["key.ec_curve"]);
    let dsa = sequence(&[oid(&[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1])]);
    check(&made(sequence(&[dsa, der(3, &[&[0, 2, 1, 1]])])), &["key.dsa"]);
}
#[test]
fn blocked_keys() {
    let key = ec_key(P256);
    let der = Made::new().der();
    let hash = ct_model::x509::raw::View::read(&der).expect("a certificate").spki_sha256().expect("a key");
    let hex = ct_model::id::to_hex(&hash);
    let with = |list: String| {
        failures(&policy(json!({"blocklist": list})), &Made { spki: key.clone(), ..Made::new() }.der(), None)
    };
    assert_eq!(with(format!("# weak\n{}\n{hex}\n", "00".repeat(32))), ["key.blocklisted"]);
    assert_eq!(with(hex.to_ascii_uppercase()), ["key.blocklisted"]);
    assert_eq!(with("00".repeat(32)), [""; 0]);
}

/// 2048 bits, of which nothing is known.
fn good_modulus() -> Vec<u8> {
    hex(GOOD)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn rsa_keys() {
    let check = |modulus: &[u8], exponent: &[u8], want: &[&str]| {
        check(&Made { spki: rsa_key(modulus, exponent), ..Made::new() }, want);
    };
    let f4 = [1, 0, 1];
    let good = good_modulus();
    check(&good, &f4, &[]);
    check(&good, &[3], &["key.rsa_exponent_range"]);
    check(&good, &[2], &["key.rsa_exponent_even", "key.rsa_exponent_small", "key.rsa_exponent_range"]);
    check(&good, &[1], &["key.rsa_exponent_small", "key.rsa_exponent_range"]);
    check(&good, &[1, 0, 0], &["key.rsa_exponent_even", "key.rsa_exponent_range"]);
    check(&good, &[0x7f; 32], &[]);
    check(&good, &[0x7f; 33], &["key.rsa_exponent_range"]);
    check(&hex(ROCA), &f4, &["key.roca"]);
    check(&hex(CLOSE), &f4, &["key.fermat"]);
    check(&hex(SMALL), &f4, &["key.rsa_small"]);
    check(&hex(FACTOR_743), &f4, &["key.rsa_small_factor"]);
    check(&hex(BITS_2049), &f4, &["key.rsa_odd_size"]);
    let mut even = good;
    *even.last_mut().expect("not empty") -= 1;
    check(&even, &f4, &["key.rsa_even", "key.rsa_small_factor"]);
}

// Products of primes, made with Python.

/// Two random primes of 1024 bits.
const GOOD: &str = "\
    abc2fc5df9c41f18ef19274dcfa2a79efefefba63e8ef5c8445e82fa65804ffd1c0594dccfd1395d93c3239465406d4205c7ce5f50544794\
    e389aa7cfbad8c9482a5d601b73b1a4f09c923e6bdb2cb0133bb6adf74b9d2fc57fdd137cb696d954ea20b642740e136fc83c4fc28e14b57\
    587063637c213fcd13f9305afe3af4d854cfaab361dc0bafc341d24ec8fbcc191db06cc0a4c987930aaf1ced64f36c00dbd408ca81f26eee\
    c1ea44ef10062094f20d5ff8cbf29f4d1cd98d60542fe902b5bb35e08e8c25fa3581a03fbbca5cb06135709feae23c297f3bfe33c07b525b\
    5239cfe4e7dab83c2078279ae5765ebbac59567e131d01bcb98538b1cb6165af";
/// Two random primes of 1020 bits.
const SMALL: &str = "\
    ac7e5268193d64428bc50f429c4f50c07d962d6644ee28022d28640a8130687f97cf29c05de02f7b3d1b56bef746dcd28e5d8daae656aaca\
    743b40721dc2ea9b18761eaaa48b3ae1a8b40a02f46486b2e183d77d0e550bcf6245d640911709efe20a74fd6f0e9e703fa0c987332635d2\
    6464b9bd886a3b08d00fbb5138b96c5a07fc5e24d1e74d95f47142a6ba2ac1b392774bd2a7b0e33c4273564d873adb37cb92a9fc28af2d41\
    bb3d48151321604a972effa9bfa629cb050a59059a214f8228b76f1be4e0dbcd1629c60df266af9ddd416947b8f66ff01c54da3065edc7d5\
    396d07f66f5f3148042352e610f86222d7c6b5e25907a954d7c6847bfdd773";
/// Two primes next to each other.
const CLOSE: &str = "\
    f37d66d13e248e532974977ce3dff553bb41d9d0d511df393e801b7bf6b0035e7d700121bbe4d5d7399d67e3bfb58e94924ea3544cb78d4a\
    c8cba70a9f15bfa80e6d4f2ed8d6d2a5614a99cb47d1489db05e97758fdf66b29742fe3105e3e19f19e9b6f47e40990cd70ef6da4d1154e9\
    b22ce9cc10d6034156ec03efdb11935e36b5ef025178b34777ea0e6f005563b3cb5aa09647f7fe3844d7ea1e4b92eba0df8d15056c75c48a\
    21ae5f2974539e180388150a6ae88e43f3deecde0d77dfccf51527186345a6547f2e1fc7a0d5a3fa43f1000fde89479a161e8dbf8dbda72a\
    b3998c546484cd9bd9a512132e55af8f816dcfab3c08970cc1f8e7485ac7f90f";
/// 743 and one number without small factors.
const FACTOR_743: &str = "\
    9b3ea48f9a0963b458c1a4a5322bae4fbc3dd71552e0f443ad2ff185535c3611fa35b342c3f90a5e4584100380756420cb5851463324e7a4\
    c257229285acc578be42287df92039f0b9f6900832f9c37b0865cf7283a942190f5175cb551bbd5b20f3cba7389c02e10f3a82c32073568f\
    af9b857bc2bb998c9ea3d74af05ddb623d00b9bd4d8f42966a8363b66c358402c30fbffd44946ca99244d41f557a7088b31ea39f3a342c08\
    3fe7c256c8dcfdd5d64483843fceef9f8cc428a28847c5a60b3417b6ef491ccdf7108a3a9fa5e1c5a19d52093ce27ebde567093b5796b794\
    436f2dff00f98a993c3b648b58db64b6b65343a2c4f1a838c3cd9bd90a0d4989";
/// Two random primes of 1025 bits.
const BITS_2049: &str = "\
    018d7e8517aa14b726a22fcab8f4b7681ced682d1b7b89b63c259c961f7a53d27a652964bf254d577456165e7d3147cfdcc1e8afa8350f34\
    a3b64e51a767e73f53d7ab971d19a477ed5075177d017e09a19edd6682e29df1e2ce76b35968c4903827199ffa8dd254f3662352033d4495\
    9685a69beaf60d209e6718a19d56d144d23f0c0c78e1c747f675e6655e228f87bc3e3c6feaa743a15cad13010f858319239b3e1ee5fc2999\
    833b8a5f37ca3f18a2b0545e7d4f5ea1bb6bfbd3382ed3e0749577a53694a7dd65a9bef577a840f77463066004869821e11c103741911df5\
    37ee184aa7ca7bdaace3041d23ca7832479beb863eaf6658152ec249c603cd9749";
/// Two primes k M + (65537^a mod M), where M is the product of the first 126 primes.
const ROCA: &str = "\
    a432e61e51c773cf857265fba20ae7b2a7c9e98c994625fecd13ce78faadbdeff387011940616ab9d2e1a808f88b5292bf7813c89726ccb4\
    176667ccbc6e52aec150b5751e669d929737ff60841f47739257db5cf29c9e385408b4e8c18e8598e620cc62ad4edd10f6238c583087f83d\
    e241f08f7e56d3871924c96426ace0c3609e663613b46548fa2218a43497716af72cacde42dff49fb0dc8567bcd357c92c43b3ceec045384\
    fcfdd552766c387577a87e32dc4c5db8cabe5a32ba075c37b260dee5a138376a109edaf49141b569c816786932a16543dcbb1c13e1648949\
    1d48896dccea562d57a031ec47aa6fa20a151e0e1c5c809e92bfd425042852fb";
