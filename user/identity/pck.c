// SPDX-License-Identifier: Apache-2.0
#include "pck.h"

#include <string.h>

#include "der.h"

#define TCB_PAIRS 18
#define PCE_SVN   17
#define CPU_SVN   18

enum member { PPID = 1, TCB, PCE_ID, FMSPC, SGX_TYPE, INSTANCE, CONFIGURATION, MEMBER_COUNT };

static const uint8_t arc[] = { 0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01 };

/* The next SEQUENCE { OID arc.`prefix`.n, value }: n is 1..max and not among `seen`. Prefix 0: none. */
static bool pair(struct in *in, uint8_t prefix, uint8_t max, uint32_t *seen, uint8_t *n, struct in *value)
{
	size_t head = sizeof(arc) + (prefix ? 1 : 0);
	struct in seq, oid;

	if (!id_der_get(in, DER_SEQ, &seq) || !id_der_get(&seq, DER_OID, &oid) || oid.left != head + 1 ||
	    memcmp(oid.p, arc, sizeof(arc)) != 0 || (prefix && oid.p[sizeof(arc)] != prefix))
		return false;
	*n = oid.p[head];
	if (*n < 1 || *n > max || *seen & 1u << *n)
		return false;
	*seen |= 1u << *n;
	*value = seq;
	return true;
}

static bool octets(struct in value, uint8_t *dst, size_t len)
{
	struct in bytes;

	return id_der_only(value, DER_OCTETS, &bytes) && bytes.left == len && in_bytes(&bytes, dst, len);
}

static bool number(struct in value, uint8_t tag, uint64_t max, uint64_t *v)
{
	return id_der_uint(&value, tag, max, v) && !value.left;
}

static bool read_tcb(struct in value, struct id_pck *pck)
{
	struct in seq, v;
	uint32_t seen = 0;
	uint64_t svn;
	uint8_t n;

	if (!id_der_only(value, DER_SEQ, &seq))
		return false;
	while (seq.left) {
		if (!pair(&seq, TCB, TCB_PAIRS, &seen, &n, &v))
			return false;
		if (n == CPU_SVN) {
			if (!octets(v, pck->cpu_svn, sizeof(pck->cpu_svn)))
				return false;
			continue;
		}
		if (!number(v, DER_INTEGER, n == PCE_SVN ? 0xffff : 0xff, &svn))
			return false;
		if (n == PCE_SVN)
			pck->pce_svn = (uint16_t)svn;
		else
			pck->svn[n - 1] = (uint8_t)svn;
	}
	return seen == (1u << (TCB_PAIRS + 1)) - 2; /* all of them */
}

static bool read_configuration(struct in value, struct id_pck *pck)
{
	struct in seq, v;
	uint32_t seen = 0;
	uint8_t n;

	if (!id_der_only(value, DER_SEQ, &seq))
		return false;
	while (seq.left) {
		if (!pair(&seq, CONFIGURATION, 3, &seen, &n, &v) || !id_der_bool(&v, &pck->flag[n - 1]) || v.left)
			return false;
		pck->has_flags[n - 1] = true;
	}
	return true;
}

static bool read_member(uint8_t n, struct in value, struct id_pck *pck)
{
	uint64_t type;

	switch (n) {
	case PPID:
		return octets(value, pck->ppid, sizeof(pck->ppid));
	case TCB:
		return read_tcb(value, pck);
	case PCE_ID:
		return octets(value, pck->pce_id, sizeof(pck->pce_id));
	case FMSPC:
		return octets(value, pck->fmspc, sizeof(pck->fmspc));
	case SGX_TYPE:
		if (!number(value, DER_ENUM, 2, &type))
			return false;
		pck->sgx_type = (uint8_t)type;
		return true;
	case INSTANCE:
		pck->has_instance = true;
		return octets(value, pck->instance, sizeof(pck->instance));
	default:
		return read_configuration(value, pck);
	}
}

const char *id_pck_parse(struct in ext, struct id_pck *pck)
{
	const uint32_t needed = 1u << PPID | 1u << TCB | 1u << PCE_ID | 1u << FMSPC | 1u << SGX_TYPE;
	struct id_pck made = { 0 };
	struct in seq, value;
	uint32_t seen = 0;
	uint8_t n;

	if (!id_der_only(ext, DER_SEQ, &seq))
		return "is not one DER SEQUENCE";
	while (seq.left)
		if (!pair(&seq, 0, MEMBER_COUNT - 1, &seen, &n, &value) || !read_member(n, value, &made))
			return "has a malformed, unknown or repeated member";
	if ((seen & needed) != needed)
		return "lacks a member";
	*pck = made;
	return NULL;
}
