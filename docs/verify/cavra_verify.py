#!/usr/bin/env python3
"""Verify signed CAVRA audit packages offline. Independent of the service: Python's library and `cryptography` only.
    cavra_verify.py PACKAGE... [--key FILE] [--previous PACKAGE] [--witness FILE]... [--witnesses COUNT]

It prints one JSON object per package, with the checks and elements of `cavra verify`; FORMAT.md describes the format.
Exit codes: 0 everything that was asked for was checked and is right, 1 something is wrong, 2 a file cannot be read.
"""
import argparse, base64, decimal, hashlib, json, re, sys
from bisect import insort
from datetime import date, datetime, timedelta, timezone
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
PAYLOAD_TYPE = "application/vnd.cavra.audit-package+json"
SCHEMA, UNSIGNED = "cavra.signed-audit-package.v1", "cavra.unsigned"
PLAN, ACK, UNDO, PACKAGE = ("go-backend-rollback-drill-" + name for name in (
    "notification-plan", "notification-ack", "notification-ack-undo", "acknowledgement-audit-package"))
STATES, EPOCH = ["acknowledged", "dismissed", "escalated", "resolved"], datetime(1970, 1, 1, tzinfo=timezone.utc)
CATEGORIES = ["deliver", "maintenance_window", "owner_calendar", "healthy_schedule", "other"]
TERMS = ["schedule_id", "owner", "provider", "state", "action", "category", "breached"]
TOLERANCE = 300_000_000  # Five minutes: so far clocks may differ, and so long a package may be in the making
class At: check = element = "arguments"  # What is being checked: whatever goes wrong is that element's fault
def at(check, element=None): At.check, At.element = check, element or check
def need(*holds):
    if not all(holds): raise ValueError(f"wrong at {At.element}")

# --- JSON, digests, times ------------------------------------------------------------------------------------------
def once(pairs): return need(len(dict(pairs)) == len(pairs)) or dict(pairs)
def read_json(text_):
    value = json.loads(text_, object_pairs_hook=once, parse_constant=lambda _: need(False))
    if re.search(r"\\u[dD][89a-fA-F]", text_): compact(value).encode("utf-8")  # Encoding refuses lone surrogates
    return value
def strict(value, depth=0):  # Whether a value has a canonical form here: safe numbers, at most 64 levels
    value = [*value.values()] if isinstance(value, dict) else value
    if isinstance(value, list): return depth < 64 and all(strict(one, depth + 1) for one in value)
    return isinstance(value, (str, bool)) or value is None or abs(value) <= 2**53 - 1
def number(value):  # A float of at most 2^53 as ECMAScript writes it
    if value == int(value): return str(int(value))
    digits, _, exponent = repr(value).partition("e")
    return f"{digits}e{int(exponent)}" if int(exponent or 0) < -6 else format(decimal.Decimal(repr(value)), "f")
def canonical(value):  # RFC 8785
    if isinstance(value, dict):
        order = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(canonical(key) + ":" + canonical(value[key]) for key in order) + "}"
    if isinstance(value, list): return "[" + ",".join(map(canonical, value)) + "]"
    return number(value) if isinstance(value, float) else compact(value)
def compact(value): return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
def sha256(data): return hashlib.sha256(data).digest()
def unbase64(text_):
    data = base64.b64decode(text_.encode("ascii"), validate=True)
    return need(base64.b64encode(data).decode() == text_) or data
RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)[\0-\x7f](\d\d):(\d\d):(\d\d)(?:\.(\d+))?"
                     r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII)
LATEST, CYCLE = 253_402_300_799_999_999, 146_097  # The last microsecond of year 9999; days of 400 years
def trim(text_): return re.sub(r"\A[^\S\x1c-\x1f]+|[^\S\x1c-\x1f]+\Z", "", text_)
def micros(text_, published=False):  # Microseconds since 1970. A published time may lack its offset; it is UTC then
    text_ = trim(text_) if published else text_
    match = RFC3339.fullmatch(text_) or (published and RFC3339.fullmatch(text_ + "Z"))
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    fraction, sign, *offset = match.groups("0")[6:]
    leap, days = second == 60, (date(year or 400, month, day) - EPOCH.date()).days - (0 if year else CYCLE)
    need(hour < 24, minute < 60, second < 60 or leap)
    minute += days * 1440 + hour * 60 - int(sign + "1") * (int(offset[0]) * 60 + int(offset[1]))
    at_ = (minute * 60 + second - leap) * 1_000_000 + int("999999" if leap else (fraction + "00000")[:6])
    need(not leap or at_ == LATEST or time_text(at_ + 1)[8:19] == "01T00:00:00")
    return need(at_ <= LATEST, time_text(at_)[0] != "-") or at_
def time_text(at_):  # Python's years begin with 1, so a time in year 0 is told as if it were in year 400
    early = at_ < -62_135_596_800_000_000
    moment = EPOCH + timedelta(days=CYCLE * early, microseconds=at_)
    return f"{moment.year - 400 * early:04}-{moment:%m-%dT%H:%M:%S}.{moment.microsecond:06}Z"

# --- Keys, notes, the tree -----------------------------------------------------------------------------------------
def is_name(name): return 0 < len(name) <= 200 and not re.search(r"[\s\x00-\x1f\x7f-\x9f+]", name)
def sound(data, P=2**255 - 19):  # A point of Ed25519 in its one spelling (RFC 8032 5.1.3), and not of small order
    y = int.from_bytes(data, "little") & ~(1 << 255)
    x2 = (y * y - 1) * pow(1 - 121665 * pow(121666, -1, P) * y * y, -1, P) % P
    return 0 < y < P and pow(x2, P // 2, P) == 1 and (x2 + y * y) % P
class Key:  # A public key, NAME+HASH+BASE64
    def __init__(self, text_):
        self.text = trim(text_)
        self.name, self.hash, encoded = self.text.split("+", 2)
        data = unbase64(encoded)
        need(is_name(self.name), len(data) == 33, data[:1] in (b"\1", b"\4"), sound(data[1:]))
        need(self.hash == sha256(self.name.encode() + b"\n" + data)[:4].hex())
        self.id, self.public = f"{self.name}+{self.hash}", Ed25519PublicKey.from_public_bytes(data[1:])
        self.is_witness = data[0] == 4
    def verifies(self, message, signature):
        try: self.public.verify(signature, message)
        except InvalidSignature: return False
        return sound(signature[:32])
def read_note(note, key=None):  # Text and signatures [(key id, signature)] of a signed note; only those of a key
    need(note.endswith("\n"), len(note) > 1)
    split_, signatures = note.rfind("\n\n"), []
    if split_ < 0: return note, []
    for line in note[split_ + 2 : -1].split("\n"):
        dash, name, encoded = line.split(" ", 2)
        need(len(data := unbase64(encoded)) >= 4, dash == "\u2014", is_name(name))
        signatures.append((f"{name}+{data[:4].hex()}", data[4:]))
    return note[: split_ + 1], [one for one in signatures if key is None or one[0] == key.id]
def note_signed(note, key):
    text_, own = read_note(note, key)
    return len(own) == 1 and key.verifies(text_.encode(), own[0][1])
def cosigned(note, witness):  # When the witness has signed (C2SP tlog-cosignature), in microseconds, if it has
    text_, own = read_note(note, witness)
    if not own: return None
    time, signature = int.from_bytes(own[0][1][:8], "big"), own[0][1][8:]
    need(len(own) == 1, witness.verifies(f"cosignature/v1\ntime {time}\n{text_}".encode(), signature))
    return need(time <= LATEST // 1_000_000) or time * 1_000_000
def leaf_hash(text_): return sha256(b"\0" + text_.encode())
def unhex(proof): return [bytes.fromhex(one) for one in proof]
def node_hash(left, right): return sha256(b"\1" + left + right)
def half(size): return 1 << (size - 1).bit_length() - 1
def root_of(leaves):  # RFC 9162 2.1.1
    if len(leaves) < 2: return leaves[0] if leaves else sha256(b"")
    return node_hash(root_of(leaves[: half(len(leaves))]), root_of(leaves[half(len(leaves)) :]))
def included(leaf, index, size, proof):  # The root that an inclusion proof (RFC 9162 2.1.3) leads to, from the top down
    need(index < size, bool(proof) == (size > 1))
    if size == 1: return leaf
    middle, *below = half(size), *proof[:-1]
    if index < middle: return node_hash(included(leaf, index, middle, below), proof[-1])
    return node_hash(proof[-1], included(leaf, index - middle, size - middle, below))
def consistent(old, new, proof, old_root):  # The two roots of a consistency proof; old_root only where it is a node
    if old == new:
        need(len(proof) == (old_root is None))
        return (old_root or proof[0],) * 2
    need(proof)
    middle, *below = half(new), *proof[:-1]
    if old <= middle:
        left = consistent(old, middle, below, old_root)
        return left[0], node_hash(left[1], proof[-1])
    return tuple(node_hash(proof[-1], right) for right in consistent(old - middle, new - middle, below, None))

# --- Routes and their state ----------------------------------------------------------------------------------------
def text(holder, key, default=None):
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, str) and value else default
def member(form, holder, key): return value if isinstance(value := holder.get(key), form) else form()
def texts(holder, key): return [one for one in member(list, holder, key) if isinstance(one, str)]
def named(*places): return next((one for holder, key in places if (one := holder.get(key)) not in (None, "")), None)
def normalised(name): return trim(name).lower().replace("-", "_")
def caseless(name): return "".join(letter.lower() for letter in name).replace("\u03c2", "\u03c3")
def choice(value, allowed):
    value = normalised(value) if value not in (None, "") else allowed[0]
    return need(value in allowed) or value
def minutes(value):
    if isinstance(value, str): value = int(value) if re.fullmatch(r"[+-]?\d+", value := trim(value), re.ASCII) else 0
    elif isinstance(value, bool) or not isinstance(value, (int, float)): value = 0
    return need(value < 2**32) or int(value) if int(value) > 0 else 60
def route_id(plan_id, created_at, key, owner):  # A UUIDv7 whose random bits are a digest of what makes the route
    parts = [part.encode() for part in ("route", plan_id, key, owner)]
    rest = bytearray(sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts))[:10])
    rest[0], rest[2] = 0x70 | rest[0] & 0x0F, 0x80 | rest[2] & 0x3F
    digits = (max(created_at // 1000, 0).to_bytes(8, "big")[2:] + rest).hex()
    return "gordroute-" + "-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
class Route:
    def __init__(self, plan, decision):
        self.plan, self.provider = plan, trim(text(decision, "provider", ""))
        self.key, self.owner = normalised(self.provider), text(decision, "owner", "release-governance")
        self.escalation_owner = text(decision, "escalation_owner", self.owner)
        self.action = choice(decision.get("action"), ["deliver", "suppress"])
        self.minutes, _ = minutes(decision.get("acknowledgement_minutes")), need(self.key)
        own = normalised(text(decision, "category", ""))
        if self.action == "deliver": self.category = "deliver"
        elif isinstance(decision.get("maintenance_window"), dict): self.category = "maintenance_window"
        elif member(dict, decision, "owner_availability").get("available") is False: self.category = "owner_calendar"
        elif "healthy" in text(decision, "reason", "").lower(): self.category = "healthy_schedule"
        else: self.category = own if own in CATEGORIES[1:] else "other"
        self.id = route_id(plan["id"], plan["at"], self.key, self.owner)
        self.deadline = min(plan["at"] + self.minutes * 60_000_000, LATEST)
        self.answer, self.revision, self.history = None, 0, []
    def reached(self): return self.answer["said"] if self.answer else "outstanding"
    def state(self): return self.reached() if self.action == "deliver" else "not_required"
    def breached(self, now): return self.state() in ("outstanding", "escalated") and now >= self.deadline
    def fold(self, history):  # Its entries, in order: effective time, position, effect, acknowledgement
        before, stack, self.answer, self.history = self.answer, [], None, history
        for entry in history:
            said, state = entry[3]["said"], self.reached()
            if said == "undone": entry[2] = "undo" if stack and stack[-1]["id"] == entry[3]["undoes"] else "stale"
            else: entry[2] = "repeat" if state == said else "final" if state == "resolved" else "change"
            if entry[2] == "undo": stack.pop()
            if entry[2] == "change": stack.append(entry[3])
            self.answer = stack[-1] if stack else None
        self.revision += self.answer is not before
    def entry(self, now):
        answer, state, shown = self.answer or {}, self.state(), ("acknowledged_by", "external_ref", "notes")
        proof = (*shown, "issuer", "subject", "verified")
        history = [{
            "acknowledgement_id": ack["id"], "acknowledgement_state": ack["said"], "undoes": ack["undoes"],
            "effect": effect, "acknowledged_at": time_text(ack["at"]), **{name: ack[name] for name in proof}
        } for _, _, effect, ack in self.history]
        return {
            "route_id": self.id, "schedule_id": self.plan["schedule"], "plan_id": self.plan["id"],
            "provider": self.provider, "owner": self.owner, "escalation_owner": self.escalation_owner,
            "route_action": self.action, "category": self.category, "route_created_at": time_text(self.plan["at"]),
            "acknowledgement_state": state, "acknowledged": state in ("acknowledged", "resolved"),
            "acknowledged_at": time_text(answer["at"]) if answer else "", "acknowledgement_id": answer.get("id", ""),
            **{name: answer.get(name, "") for name in shown}, "breached": self.breached(now), "revision": self.revision,
            "age_minutes": ((now - self.plan["at"]) * 2 + 600_000) // 1_200_000 / 100,
            "acknowledgement_minutes": self.minutes, "acknowledgements": history}
    def left_out_by(self, filters, now):
        owner = caseless(self.owner) + "\x1f" + caseless(self.escalation_owner)
        holds = (filters["schedule_id"] in ("", self.plan["schedule"]), filters["owner"] in owner,
            not filters["provider"] or normalised(filters["provider"]) == self.key,
            filters["state"] in ("", self.state()), filters["action"] in ("", self.action),
            filters["category"] in ("", self.category), filters["breached"] in (None, self.breached(now)))
        return next((term for term, hold in zip(TERMS, holds) if not hold), None)
class Replay:  # The state that plans and acknowledgements, in log order, lead to
    def __init__(self): self.plans, self.schedules, self.acks, self.by_id, self.undos = {}, {}, {}, {}, {}
    def apply(self, leaf, record):
        document = {PLAN: "plan", ACK: "acknowledgement", UNDO: "acknowledgement_undo"}[leaf["kind"]]
        document = record[document] if isinstance(record.get(document), dict) else record
        created = named((record, "created_at"), (document, "generated_at"), (document, "acknowledged_at"))
        schedule = trim(text(record, "schedule_id") or text(document, "schedule_id"))
        need(text(record, "session_id"), schedule, leaf["kind"] != UNDO or text(document, "acknowledgement_id"))
        arrive = self.plan if leaf["kind"] == PLAN else self.ack
        arrive(leaf, record, document, schedule, micros(created, True), micros(leaf["recorded_at"]))
    def plan(self, _, record, document, schedule, created, recorded):
        plan = {"id": record["session_id"], "schedule": schedule, "at": min(created, recorded), "routes": {}}
        decisions = document.get("route_decisions")
        if decisions is None:
            key, owner = "acknowledgement_required_providers", ", ".join(texts(document, "owners"))
            decisions = [{"provider": one, "owner": owner} for one in texts(record, key) or texts(document, key)]
        for route in (Route(plan, decision) for decision in decisions): plan["routes"].setdefault(route.id, route)
        siblings, place = self.schedules.setdefault(schedule, []), (plan["at"], plan["id"])
        newer = min((sibling[0] for sibling in siblings if sibling > place), default=LATEST + 1)
        insort(siblings, place)
        self.plans[plan["id"]] = plan
        acks = sorted(self.acks.get(schedule, []), key=lambda ack: (ack["effective"], ack["position"]))
        named = [ack for ack in acks if ack["plan"] is None and ack["plan_id"] == plan["id"]]
        floating = [ack for ack in acks if ack["plan_id"] is None and plan["at"] <= ack["effective"] < newer]
        for ack in named + floating:
            for undo in self.undos.get(ack["id"], []): self.unlink(undo)
            self.unlink(ack), self.link(ack, plan)
            self.link_undos(ack, self.undos.get(ack["id"], []))
    def unlink(self, ack):
        for route in ack["plan"]["routes"].values() if ack["plan"] else []:
            kept = [entry for entry in route.history if entry[3] is not ack]
            if len(kept) != len(route.history): route.fold(kept)
    def link_undos(self, ack, undos):
        for undo in undos:
            undo.update(provider=ack["provider"], owner=ack["owner"])
            if ack["plan"]: self.link(undo, ack["plan"])
    def ack(self, leaf, record, document, schedule, created, recorded):
        undoes = text(document, "acknowledgement_id") if leaf["kind"] == UNDO else ""
        actor, at_ = document.get("actor"), text(document, "undone_at" if undoes else "acknowledged_at")
        at_ = micros(at_, True) if at_ else created
        verified = isinstance(actor, dict) and actor.get("verified") is True and not leaf["imported"]
        said = named((document, "acknowledgement_state"), (record, "acknowledgement_state"))
        said, notes = ("undone", "reason") if undoes else (choice(said, STATES), "notes")
        by = text(document, "acknowledged_by") or text(record, "acknowledged_by") or text(record, "signer", "")
        by = text(document, "undone_by", "") if undoes else by
        ack = {
            "id": record["session_id"], "position": leaf["position"], "said": said, "at": at_, "undoes": undoes,
            "effective": min(at_, recorded), "acknowledged_by": by, "owner": text(document, "owner"),
            "provider": normalised(text(document, "provider") or text(record, "provider")), "verified": verified,
            "plan_id": text(document, "plan_id") or text(record, "plan_id"), "notes": text(document, notes, ""),
            "external_ref": "" if undoes else text(document, "external_ref", ""), "issuer": text(actor, "issuer", ""),
            "subject": text(actor, "subject", ""), "plan": None, "covers": 0}
        if undoes:
            self.undos.setdefault(undoes, []).append(ack)
            return self.link_undos(self.by_id[undoes], [ack]) if undoes in self.by_id else None
        self.by_id[ack["id"]] = ack
        need(ack["provider"]), self.acks.setdefault(schedule, []).append(ack)
        began = [place for place in self.schedules.get(schedule, []) if place[0] <= ack["effective"]]
        plan = self.plans.get(ack["plan_id"] or (began[-1][1] if began else None))
        if plan and plan["schedule"] == schedule: self.link(ack, plan)
        self.link_undos(ack, self.undos.get(ack["id"], []))
    def link(self, ack, plan):
        routes = [route for route in plan["routes"].values() if route.action == "deliver" and
                  route.key == ack["provider"] and ack["owner"] in (None, route.owner)]
        ack["plan"], ack["covers"] = plan, len(routes)
        for route in routes:
            route.fold(sorted([*route.history, [ack["effective"], ack["position"], "repeat", ack]]))
    def routes(self, current_only):
        current = {siblings[-1][1] for siblings in self.schedules.values()}
        plans = [plan for plan in self.plans.values() if not current_only or plan["id"] in current]
        return sorted((route for plan in plans for route in plan["routes"].values()),
                      key=lambda route: (route.plan["at"], route.id), reverse=True)
    def orphans(self): return sum(not one["covers"] for it in (*self.acks.values(), *self.undos.values()) for one in it)

# --- The checks, in the order of `cavra verify` ---------------------------------------------------------------------
def shape(value, form):  # Whether a value has the form: a type, a list of a form, or a dict of forms in that order
    if isinstance(form, dict):
        form = {key: form[key] for key in form if key != "witnessed" or value.get(key)}
        return list(value) == list(form) and all(shape(value[key], form[key]) for key in form)
    if isinstance(form, list): return isinstance(value, list) and all(shape(one, form[0]) for one in value)
    if form is None: return value is None or isinstance(value, str)
    if form == "digest": return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None
    return type(value) is form and (form is not int or 0 <= value < 2**64)
FORM = {
    "schema_version": str, "audit_package": str, "records": [{"leaf": str, "proof": ["digest"], "record": str}],
    "leaves": [str], "consistency": [{"size": int, "proof": ["digest"]}], "keys": [{"key": str, "endorsement": None}],
    "checkpoint": str, "witnessed": [{"checkpoint": str, "proof": ["digest"]}], "manifest": {
        "audit_id": str, "scope": str, "package_sha256": "digest", "package_bytes": int, "record_count": int,
        "leaf_count": int, "tree_size": int, "root": "digest", "signed": bool}}
def open_envelope(data):
    at("envelope"); envelope = read_json(data.decode("utf-8"))
    need(set(envelope) == {"payload", "payloadType", "signatures"}, isinstance(envelope["signatures"], list))
    for one in envelope["signatures"]: need(set(one) == {"keyid", "sig"}, isinstance(one["keyid"], str))
    signatures = [(one["keyid"], unbase64(one["sig"])) for one in envelope["signatures"]]
    raw = unbase64(envelope["payload"])
    need(envelope["payloadType"] == PAYLOAD_TYPE), at("payload")
    payload = read_json(raw.decode("utf-8"))
    need(shape(payload, FORM), payload["manifest"]["scope"] in ("whole", "filtered"))
    need(compact(payload) == raw.decode("utf-8"), payload["schema_version"] == SCHEMA)
    return raw, payload, signatures
def open_keys(entries):
    at("keys"); keys = []
    for entry in entries:
        key, note = Key(entry["key"]), entry["endorsement"]
        need(key.text == entry["key"], not key.is_witness, (note is None) == (not keys))
        if keys:
            old, said = keys[-1], read_note(note)[0]
            begin = f"cavra-key-rotation/v1\n{old.text}\n{key.text}\n"
            need(old.name == key.name, note_signed(note, old), said.startswith(begin), said[-1] == "\n")
            micros(said[len(begin) : -1])
        keys.append(key)
    return keys
def check_signature(raw, keys, signatures, trusted):
    if not keys: return need(not signatures, trusted is None)
    need(trusted is None or trusted.text in [key.text for key in keys], len(signatures) == 1)
    message = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(raw)} ".encode() + raw
    need(signatures[0][0] == keys[-1].id, keys[-1].verifies(message, signatures[0][1]))
def open_checkpoint(note, keys):
    origin, size, root, end = read_note(note)[0].split("\n")
    need(not end, re.fullmatch("0|[1-9][0-9]*", size), int(size) < 2**64, len(unbase64(root)) == 32)
    need(origin == (keys[-1].name if keys else UNSIGNED), not keys or note_signed(note, keys[-1]))
    return int(size), unbase64(root), note
def open_checkpoints(payload, keys):  # The package's own, then those of other sizes that witnesses have signed
    at("checkpoint"); opened = [open_checkpoint(payload["checkpoint"], keys)]
    for place, packed in enumerate(payload.get("witnessed", [])):
        at("checkpoint", f"witnessed[{place}]"); opened.append(open_checkpoint(packed["checkpoint"], keys))
        need((opened[-2][0] if place else 0) < opened[-1][0] != opened[0][0])
        (old, old_root, _), (new, new_root, _) = sorted([opened[0], opened[-1]])
        need(consistent(old, new, unhex(packed["proof"]), old_root) == (old_root, new_root))
    return opened
def check_witnesses(checkpoints, keys, records, witnesses, needed):  # They have to have seen all evidence
    newest, missing, times = max((leaf["position"] for leaf, _ in records if is_evidence(leaf)), default=0), [], {}
    for witness in witnesses:
        at("witnesses", witness.id)
        seen = {size: time for size, _, note in checkpoints if (time := cosigned(note, witness)) is not None}
        for size, time in seen.items():
            recorded = (micros(leaf["recorded_at"]) for leaf, _ in records if leaf["position"] <= size)
            need(max(recorded, default=0) <= time + TOLERANCE)
            times[witness.id, size] = time_text(time)
        if not seen or max(seen) < newest: missing.append(witness.id)
    at("witnesses", *missing[:1]), need(len(witnesses) - len(missing) >= needed)
    return [{"witness": id_, "tree_size": size, "cosigned_at": times.get((id_, size)), "checked": (id_, size) in times}
            for size, _, note in checkpoints for id_, _ in read_note(note)[1] if not keys or id_ != keys[-1].id]
def check_manifest(payload, size, root, keys):
    manifest, data = payload["manifest"], payload["audit_package"].encode()
    for element, said, found in (("checkpoint", (manifest["tree_size"], manifest["root"]), (size, root.hex())),
        ("records", manifest["record_count"], len(payload["records"])),
        ("leaves", manifest["leaf_count"], len(payload["leaves"])), ("keys", manifest["signed"], bool(keys)),
        ("audit_package", (manifest["package_sha256"], manifest["package_bytes"]), (sha256(data).hex(), len(data)))):
        at("manifest", element), need(said == found)
def open_leaf(text_):
    leaf = read_json(text_)
    form = {"imported": bool, "kind": str, "position": int, "recorded_at": str, "sha256": "digest"}
    need(shape(leaf, form | ({"upgraded": bool} if leaf.get("upgraded") is True else {})), compact(leaf) == text_)
    need(leaf["position"] > 0, time_text(micros(leaf["recorded_at"])) == leaf["recorded_at"])
    return leaf
def is_evidence(leaf): return leaf["kind"] in (PLAN, ACK, UNDO)
def check_records(payload, size, root):
    records, hashes, ids, last = [], {}, set(), ""
    for place, packed in enumerate(payload["records"]):
        at("records", f"records[{place}]"); leaf = open_leaf(packed["leaf"])
        at("records", f"record {leaf['position']}"); need(not records or records[-1][0]["position"] < leaf["position"])
        need(sha256(packed["record"].encode()).hex() == leaf["sha256"])
        record = read_json(packed["record"])
        need(strict(record), canonical(record) == packed["record"])
        need(text(record, "metadata_kind", "") == leaf["kind"], (id_ := text(record, "session_id")) not in ids)
        ids |= {id_} - {None}
        records.append((leaf, record))
    if payload["manifest"]["scope"] == "filtered":
        at("records", "leaves"), need(not payload["leaves"])
        for packed, (leaf, _) in zip(payload["records"], records):
            at("records", f"record {leaf['position']}"), need(last <= (last := leaf["recorded_at"]))
            need(included(leaf_hash(packed["leaf"]), leaf["position"] - 1, size, unhex(packed["proof"])) == root)
        return records, []
    for packed, (leaf, _) in zip(payload["records"], records):
        at("records", f"record {leaf['position']}"), need(not packed["proof"])
        hashes[leaf["position"]] = leaf_hash(packed["leaf"]), leaf["recorded_at"]
    for place, text_ in enumerate(payload["leaves"]):
        at("records", f"leaves[{place}]"), need((leaf := open_leaf(text_))["position"] not in hashes)
        hashes[leaf["position"]] = leaf_hash(text_), leaf["recorded_at"]
    for expected, position in enumerate(sorted(hashes), 1):
        at("records", f"leaf {expected}"), need(position == expected, last <= (last := hashes[position][1]))
    leaves = [hashes[position][0] for position in sorted(hashes)]
    at("records", "leaves"), need(len(leaves) == size, root_of(leaves) == root)
    return records, leaves
def check_package(payload, records, size):
    (leaf, record), audit_id, data = records[-1], payload["manifest"]["audit_id"], payload["audit_package"].encode()
    need(leaf["position"] == size, leaf["kind"] == PACKAGE, not leaf["imported"], record["session_id"] == audit_id)
    summary = one if isinstance(one := record.get("acknowledgement_audit_package"), dict) else record
    need(summary.get("package_sha256") == sha256(data).hex(), summary.get("package_bytes") == len(data))
    package = read_json(payload["audit_package"])
    need(isinstance(package, dict), strict(package), package["audit_id"] == audit_id)
    whole = all(term in ("action", "cycle") or value in (None, "") for term, value in package["filters"].items())
    return need(whole == (payload["manifest"]["scope"] == "whole")) or package
def natural(value): return type(value) is int and value >= 0
def read_scope(package):
    filters, until, as_of = package["filters"], package["evidence"]["log_position"], package.get("as_of", package)
    need(sorted(filters) == sorted([*TERMS, "cycle"]), filters["cycle"] in ("current", "all"), natural(until))
    allowed = {"state": ["outstanding", *STATES], "action": ["deliver", "suppress"], "category": CATEGORIES}
    for term in TERMS[:-1]:
        need(filters[term].strip() == filters[term], term not in allowed or filters[term] in ("", *allowed[term]))
    need(type(filters["breached"]) in (bool, type(None)), caseless(filters["owner"]) == filters["owner"])
    made, earlier = micros(package["generated_at"]), None if as_of is package else as_of["log_position"]
    need(earlier is None or natural(earlier))
    return filters, until, made, made if as_of is package else micros(as_of["at"]), earlier
def check_routes(payload, package, records):
    at("routes"); filters, until, made, now, earlier = read_scope(package)
    evidence = [(leaf, record) for leaf, record in records if is_evidence(leaf)]
    at("routes", "generated_at"), need(made <= micros(records[-1][0]["recorded_at"]) <= made + TOLERANCE)
    at("routes", "as_of"), need(now <= made, earlier is None or until <= earlier)
    for leaf, _ in evidence:
        at("routes", f"record {leaf['position']}"), need(leaf["position"] <= until, micros(leaf["recorded_at"]) <= now)
    if payload["manifest"]["scope"] == "whole":
        for leaf in filter(is_evidence, map(open_leaf, payload["leaves"])):
            at("routes", f"record {leaf['position']}"), need((position := leaf["position"]) > until)
            came = micros(leaf["recorded_at"])  # After the moment, or while the package was being made
            need(earlier is not None and position > earlier and came >= now or made <= came + TOLERANCE)
        at("routes", "evidence"), need((evidence[-1][0]["position"] if evidence else 0) == until)
    replay = Replay()
    for leaf, record in evidence: at("routes", f"record {leaf['position']}"), replay.apply(leaf, record)
    at("routes", "routes"), need(isinstance(said := package["routes"], list))
    matched, left_out, known = [], dict.fromkeys(TERMS, 0), 0
    for route in replay.routes(filters["cycle"] == "current"):
        known, term = known + 1, route.left_out_by(filters, now)
        if term: left_out[term] += 1
        else:  # Compared as text: to Python, True is 1
            at("routes", f"route {route.id}"), matched.append(route), need(len(matched) <= len(said))
            need(canonical(said[len(matched) - 1]) == canonical(route.entry(now)))
    at("routes", f"routes[{len(matched)}]"), need(len(said) == len(matched))
    return matched, now, {"known": known, "matched": len(matched), "left_out": left_out}, {
        "record_count": len(evidence), "log_position": until, "orphaned_acknowledgement_count": replay.orphans()}
def check_counts(payload, package, matched, now, population, log):
    states = [route.state() for route in matched]
    undos = {one[3]["id"] for route in matched for one in route.history if one[3]["undoes"]}
    breached, outstanding = sum(route.breached(now) for route in matched), states.count("outstanding")
    level = "critical" if breached or "escalated" in states else "warning" if outstanding else "healthy"
    expected = {
        "route_count": len(states) - states.count("not_required"),
        "acknowledgement_count": len({one[3]["id"] for route in matched for one in route.history} - undos),
        **{f"{state}_count": states.count(state) for state in ("acknowledged", "resolved", "escalated", "dismissed")},
        "outstanding_count": outstanding, "breached_count": breached,
        "suppressed_count": states.count("not_required"), "alert_level": level}
    if payload["manifest"]["scope"] == "whole": expected |= {"population": population, "evidence": log}
    for field, value in expected.items():
        at("counts", field), need(field in package, canonical(package.get(field)) == canonical(value))
    at("counts", "population"); said = package["population"]
    left_out = sum(filter(natural, said["left_out"].values()))
    need(compact([said["matched"], said["known"]]) == compact([len(matched), left_out + len(matched)]))
def verify(data, trusted, witnesses=(), needed=0):
    raw, payload, signatures = open_envelope(data)
    keys = open_keys(payload["keys"])
    at("signature"), check_signature(raw, keys, signatures, trusted)
    checkpoints = (size, root, _), *_ = open_checkpoints(payload, keys)
    check_manifest(payload, size, root, keys)
    records, leaves = check_records(payload, size, root)
    at("package"); package = check_package(payload, records, size)
    check_counts(payload, package, *check_routes(payload, package, records))
    return check_witnesses(checkpoints, keys, records, witnesses, needed), payload, size, root, leaves
def compare(payload, size, root, leaves, previous, trusted):
    try: _, old, old_size, old_root, _ = verify(previous, None)
    finally: at("consistency")
    keys, old_keys = ([entry["key"] for entry in one["keys"]] for one in (payload, old))
    need(not keys or not old_keys or keys[-1].split("+")[0] == old_keys[-1].split("+")[0])
    need(not trusted or trusted.text in old_keys or old_keys and old_keys[-1] in keys, old_size <= size)
    if payload["manifest"]["scope"] == "whole": return need(root_of(leaves[:old_size]) == old_root)
    proofs = [one["proof"] for one in payload["consistency"] if one["size"] == old_size]
    need(consistent(old_size, size, unhex(proofs[0] if proofs else []), old_root) == (old_root, root))
def main():
    parser = argparse.ArgumentParser(description="Verify signed CAVRA audit packages offline.")
    parser.add_argument("packages", nargs="+", metavar="PACKAGE")
    parser.add_argument("--key", help="file with the public key that you trust")
    parser.add_argument("--previous", help="an earlier package of the same log")
    parser.add_argument("--witness", action="append", default=[], help="file with the public key of a witness")
    parser.add_argument("--witnesses", type=int, help="so many of the witnesses are enough")
    arguments, code = parser.parse_args(), 0
    try:
        trusted, *witnesses = [Key(open(path, encoding="utf-8").read()) if path else None
                               for path in (arguments.key, *arguments.witness)]
        needed = len(witnesses) if arguments.witnesses is None else arguments.witnesses
        need(all(key.is_witness for key in witnesses), len({key.id for key in witnesses}) == len(witnesses))
        need(arguments.witnesses is None or 0 < needed <= len(witnesses))
        previous = open(arguments.previous, "rb").read() if arguments.previous else None
        for path, data in ((path, open(path, "rb").read()) for path in arguments.packages):
            verdict = "verified" if trusted else "consistent_only"
            said = {"package": path, "verdict": verdict, "failure": None, "cosignatures": []}
            try:
                said["cosignatures"], *opened = verify(data, trusted, witnesses, needed)
                if previous is not None: compare(*opened, previous, trusted)
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError):
                code, said["verdict"], said["failure"] = 1, "failed", {"check": At.check, "element": At.element}
            print(json.dumps(said))
    except (OSError, ValueError) as error:  # No key, no such file
        return print(f"error: {error}", file=sys.stderr) or 2
    return code
if __name__ == "__main__": sys.exit(main())
