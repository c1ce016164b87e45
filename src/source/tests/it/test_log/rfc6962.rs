//! The calls of RFC 6962 section 4.

use super::calls::Call;
use super::faults::Fault;
use super::http::{Answer, Request};
use super::log::{Log, Page};
use super::signing::base64;
use super::tree::Hash;

impl Log {
    pub(super) fn rfc6962(&self, call: Call, request: &Request, faults: &[Fault]) -> Answer {
        let answer = match call {
            Call::GetSth => Ok(self.head(faults).to_json()),
            Call::GetEntries => self.get_entries(request, faults),
            Call::GetSthConsistency => self.get_sth_consistency(request, faults),
            Call::GetProofByHash => self.get_proof_by_hash(request, faults),
            Call::GetEntryAndProof => self.get_entry_and_proof(request, faults),
            Call::GetRoots => Ok(format!(r#"{{"certificates":[{}]}}"#, list(&self.roots))),
            _ => Err((404, "no such call")),
        };
        match answer {
            Ok(body) => Answer::json(body),
            Err((status, why)) => Answer::refusal(status, why),
        }
    }

    fn get_entries(&self, request: &Request, faults: &[Fault]) -> Result<String, (u16, &'static str)> {
        let (Some(start), Some(end)) = (request.number("start"), request.number("end")) else {
            return Err((400, "start and end are needed"));
        };
        let size = self.size();
        if start > end || start >= size {
            return Err((400, "start beyond end or tree"));
        }
        let mut count = match self.options.page {
            Page::UpTo(max) => max,
            Page::Aligned(max) => max - start % max,
        };
        count = count.min(end - start + 1).min(size - start);
        for fault in faults {
            match fault {
                Fault::ShortPage(max) => count = count.min(*max),
                Fault::EmptyPage => count = 0,
                _ => {}
            }
        }
        let branch = self.branch(faults, true);
        let mut body = String::from(r#"{"entries":["#);
        for index in start..start + count {
            let entry = self.entry_of(&branch, index);
            if index > start {
                body.push(',');
            }
            body.push_str(r#"{"leaf_input":""#);
            base64_simd::STANDARD.encode_append(entry.leaf_input(), &mut body);
            body.push_str(r#"","extra_data":""#);
            base64_simd::STANDARD.encode_append(entry.extra_data(), &mut body);
            body.push_str(r#""}"#);
        }
        Ok(body + "]}")
    }

    fn get_sth_consistency(&self, request: &Request, faults: &[Fault]) -> Result<String, (u16, &'static str)> {
        match (request.number("first"), request.number("second")) {
            (Some(first), Some(second)) if first <= second && second <= self.size() => {
                let proof = self.branch(faults, false).tree.consistency(first, second);
                Ok(format!(r#"{{"consistency":[{}]}}"#, list(&proof)))
            }
            _ => Err((400, "first and second are two sizes of the tree")),
        }
    }

    fn get_proof_by_hash(&self, request: &Request, faults: &[Fault]) -> Result<String, (u16, &'static str)> {
        let hash = request.param("hash").and_then(|hash| base64_simd::STANDARD.decode_to_vec(hash).ok());
        let hash: Option<Hash> = hash.and_then(|hash| hash.try_into().ok());
        let (Some(hash), Some(size)) = (hash, self.proven_size(request)) else {
            return Err((400, "a hash and a size of the tree are needed"));
        };
        let branch = self.branch(faults, false);
        let index = branch.tree.leaves()[..size as usize].iter().position(|leaf| *leaf == hash);
        let index = index.ok_or((404, "no such leaf"))? as u64;
        let path = branch.tree.inclusion(index, size);
        Ok(format!(r#"{{"leaf_index":{index},"audit_path":[{}]}}"#, list(&path)))
    }

    fn get_entry_and_proof(&self, request: &Request, faults: &[Fault]) -> Result<String, (u16, &'static str)> {
        match (request.number("leaf_index"), self.proven_size(request)) {
            (Some(index), Some(size)) if index < size => {
                let entry = self.entry_of(&self.branch(faults, true), index);
                let path = self.branch(faults, false).tree.inclusion(index, size);
                Ok(format!(
                    r#"{{"leaf_input":"{}","extra_data":"{}","audit_path":[{}]}}"#,
                    base64(&entry.leaf_input()),
                    base64(&entry.extra_data()),
                    list(&path)
                ))
            }
            _ => Err((400, "an index and a size of the tree are needed")),
        }
    }

    fn proven_size(&self, request: &Request) -> Option<u64> {
        request.number("tree_size").filter(|size| *size <= self.size())
    }
}

/// The items of a JSON array of base64.
fn list<T: AsRef<[u8]>>(items: &[T]) -> String {
    items.iter().map(|item| format!("\"{}\"", base64(item.as_ref()))).collect::<Vec<_>>().join(",")
}
