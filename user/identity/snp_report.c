// SPDX-License-Identifier: Apache-2.0
/* Form of a report and of a certificate table. Offsets are those of the specification. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "snp.h"

#define WHERE       "SNP report"
#define TABLE       "certificate table"
#define ENTRIES_MAX 32
#define GUID_LEN    16
#define ENTRY_LEN   (GUID_LEN + 8)

#define ALGORITHM_P384 1 /* with SHA-384 */

static uint32_t u32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

const char *id_snp_product_name(enum id_snp_product product)
{
	static const char *const names[ID_SNP_PRODUCTS] = { "Milan", "Genoa", "Turin" };

	return product < ID_SNP_PRODUCTS ? names[product] : "unknown";
}

bool id_snp_is_report(const uint8_t *bytes, size_t len)
{
	/* a quote's version is 16 bits, and its key type (never 0) follows */
	return len == ID_SNP_REPORT_LEN && u32(bytes) <= UINT16_MAX;
}

static int reserved_check(const uint8_t *b, uint32_t version, struct err *e)
{
	static const struct {
		size_t from, to;
		uint32_t until; /* versions before this one; 0: all */
	} reserved[] = {
		{ 0x04c, 0x050, 0 }, { 0x188, 0x18b, 3 },       { 0x18b, 0x1a0, 0 }, { 0x1eb, 0x1ec, 0 },
		{ 0x1ef, 0x1f0, 0 }, { 0x1f8, 0x208, 5 },       { 0x208, 0x2a0, 0 }, { 0x2a0 + 48, 0x2a0 + 72, 0 },
		{ 0x318, 0x330, 0 }, { 0x330, 0x330 + 368, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
		if ((!reserved[i].until || version < reserved[i].until) &&
		    !bytes_are_zero(b + reserved[i].from, reserved[i].to - reserved[i].from))
			return err_reason(e, ID_SNP_MALFORMED, WHERE, "bytes 0x%zx to 0x%zx must be zero",
					  reserved[i].from, reserved[i].to - 1);
	return 0;
}

static int header_read(const uint8_t *b, struct id_snp_report *r, struct err *e)
{
	uint32_t flags = u32(b + 0x48), signer = flags >> 2 & 7;

	r->version = u32(b);
	if (r->version < ID_SNP_VERSION_MIN || r->version > ID_SNP_VERSION_MAX)
		return err_reason(e, ID_SNP_UNSUPPORTED, WHERE, "version %u, only %d to %d are read", r->version,
				  ID_SNP_VERSION_MIN, ID_SNP_VERSION_MAX);
	if (u32(b + 0x34) != ALGORITHM_P384)
		return err_reason(e, ID_SNP_UNSUPPORTED, WHERE, "signature algorithm %u, only ECDSA P-384 (%d) is read",
				  u32(b + 0x34), ALGORITHM_P384);
	if (flags >> 5)
		return err_reason(e, ID_SNP_MALFORMED, WHERE, "unknown bits in the key flags 0x%x", flags);
	if (signer > ID_SNP_VLEK)
		return err_reason(e, ID_SNP_UNSUPPORTED, WHERE, "signed by key %u, neither VCEK (0) nor VLEK (1)",
				  signer);
	r->is_chip_masked = flags & 2;
	r->signer = signer == 1 ? ID_SNP_VLEK : ID_SNP_VCEK;
	return 0;
}

/* Family and model as CPUID leaf 1 gives them, extended ones added in. */
static int product_read(const uint8_t *b, struct id_snp_report *r, struct err *e)
{
	uint8_t family = b[0x188], model = b[0x189];

	if (r->version < 3)
		return 0;
	r->cpu_family = family;
	r->cpu_model = model;
	r->cpu_stepping = b[0x18a];
	if (family == 0x19 && model <= 0x0f)
		r->product = ID_SNP_MILAN;
	else if (family == 0x19 && ((model >= 0x10 && model <= 0x1f) || (model >= 0xa0 && model <= 0xaf)))
		r->product = ID_SNP_GENOA;
	else if (family == 0x1a && model <= 0x11)
		r->product = ID_SNP_TURIN;
	else
		return err_reason(e, ID_SNP_UNSUPPORTED, WHERE, "processor family 0x%x model 0x%x is not known", family,
				  model);
	r->has_product = true;
	return 0;
}

static void fields_read(const uint8_t *b, struct id_snp_report *r)
{
	r->bytes = b;
	r->guest_svn = u32(b + 0x04);
	r->policy = u64(b + 0x08);
	r->vmpl = u32(b + 0x30);
	r->current_tcb = b + 0x38;
	r->platform = u64(b + 0x40);
	r->report_data = b + 0x50;
	r->measurement = b + 0x90;
	r->host_data = b + 0xc0;
	r->id_key_digest = b + 0xe0;
	r->author_key_digest = b + 0x110;
	r->reported_tcb = b + 0x180;
	r->chip_id = b + 0x1a0;
	r->committed_tcb = b + 0x1e0;
	r->launch_tcb = b + 0x1f0;
	r->signature = b + 0x2a0;
}

int id_snp_parse(const uint8_t *bytes, size_t len, struct id_snp_report *report, struct err *e)
{
	struct id_snp_report made = { 0 };
	int ret;

	if (len != ID_SNP_REPORT_LEN)
		return err_reason(e, ID_SNP_MALFORMED, WHERE, "%zu bytes, %d are needed", len, ID_SNP_REPORT_LEN);
	ret = header_read(bytes, &made, e);
	if (!ret)
		ret = reserved_check(bytes, made.version, e);
	if (!ret)
		ret = product_read(bytes, &made, e);
	if (ret < 0)
		return ret;
	fields_read(bytes, &made);
	if (made.policy & ~ID_SNP_POLICY_KNOWN || !(made.policy & ID_SNP_POLICY_ONE))
		return err_reason(e, ID_SNP_MALFORMED, WHERE, "policy 0x%llx: bit 17 must be set, bits 26 and up clear",
				  (unsigned long long)made.policy);
	*report = made;
	return 0;
}

/* --- certificate table --- */

struct entry {
	const uint8_t *guid;
	uint32_t offset, len;
};

/* Where a certificate of that kind goes; NULL: of no interest. Bytes in the order of their text. */
static struct in *place_of(const uint8_t guid[GUID_LEN], struct id_snp_certs *certs)
{
	const struct {
		uint8_t guid[GUID_LEN];
		struct in *place;
	} known[] = {
		{ { 0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd },
		  &certs->vek }, /* VCEK */
		{ { 0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1 },
		  &certs->vek }, /* VLEK */
		{ { 0x4a, 0xb7, 0xb3, 0x79, 0xbb, 0xac, 0x4f, 0xe4, 0xa0, 0x2f, 0x05, 0xae, 0xf3, 0x27, 0xc7, 0x82 },
		  &certs->intermediate }, /* ASK */
		{ { 0xc0, 0xb4, 0x06, 0xa4, 0xa8, 0x03, 0x49, 0x52, 0x97, 0x43, 0x3f, 0xb6, 0x01, 0x4c, 0xd0, 0xae },
		  &certs->root }, /* ARK */
	};

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (memcmp(known[i].guid, guid, GUID_LEN) == 0)
			return known[i].place;
	return NULL;
}

static int table_malformed(struct err *e, size_t i, const char *why)
{
	char where[64];

	snprintf(where, sizeof(where), TABLE "[%zu]", i);
	return err_reason(e, ID_SNP_MALFORMED, where, "%s", why);
}

/* The number of entries before the zero one, or a refusal. */
static int entries_read(struct in in, struct entry entries[ENTRIES_MAX], struct err *e)
{
	for (int n = 0; n <= ENTRIES_MAX; n++) {
		struct entry entry;

		if (!in_ref(&in, &entry.guid, GUID_LEN) || !in_u32le(&in, &entry.offset) || !in_u32le(&in, &entry.len))
			return table_malformed(e, (size_t)n, "the table does not end in a zero entry");
		if (bytes_are_zero(entry.guid, ENTRY_LEN))
			return n;
		if (n < ENTRIES_MAX)
			entries[n] = entry;
	}
	return table_malformed(e, ENTRIES_MAX, "is one too many");
}

static bool overlap(const struct entry *a, const struct entry *b)
{
	return a->offset < (uint64_t)b->offset + b->len && b->offset < (uint64_t)a->offset + a->len;
}

static int entry_check(const struct entry *entries, size_t n, size_t i, size_t len, struct err *e)
{
	const struct entry *entry = &entries[i];

	if (entry->offset < (n + 1) * ENTRY_LEN || !entry->len || (uint64_t)entry->offset + entry->len > len)
		return table_malformed(e, i, "lies outside the bytes behind the table");
	for (size_t j = 0; j < i; j++)
		if (overlap(entry, &entries[j]) || memcmp(entry->guid, entries[j].guid, GUID_LEN) == 0)
			return table_malformed(e, i, "overlaps or repeats another entry");
	return 0;
}

int id_snp_table_parse(const uint8_t *bytes, size_t len, struct id_snp_certs *certs, struct err *e)
{
	struct entry entries[ENTRIES_MAX];
	struct id_snp_certs made = { 0 };
	int n;

	if (len > ID_SNP_TABLE_MAX)
		return err_reason(e, ID_SNP_MALFORMED, TABLE, "%zu bytes, at most %d are read", len, ID_SNP_TABLE_MAX);
	n = entries_read(in_of(bytes, len), entries, e);
	for (int i = 0; i < n; i++) {
		struct in *place = place_of(entries[i].guid, &made);

		if (entry_check(entries, (size_t)n, (size_t)i, len, e) < 0)
			return -EBADMSG;
		if (place && place->p)
			return table_malformed(e, (size_t)i, "VCEK and VLEK in one table");
		if (place)
			*place = in_of(bytes + entries[i].offset, entries[i].len);
	}
	if (n < 0)
		return n;
	*certs = made;
	return 0;
}
