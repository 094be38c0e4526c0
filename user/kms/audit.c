// SPDX-License-Identifier: Apache-2.0
/*
 * The audit log: one JSON object a line, each with the hash of the line before it, its own hash and the root CA's
 * signature over that. What the chain can not tell, that its end is missing, the head tells: the number, hash and
 * signature of the last record, in one of two slots that are written in turn. A record is on disk before its head, and
 * both before whatever it records is handed out.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

#include "base/file.h"
#include "base/text.h"
#include "internal.h"

#define LOG_FILE  "audit.log"
#define HEAD_FILE "audit.head"
#define SIGN_NOTE "bailey-kms-audit-v1:"

/* ,"hash":"<64>","sig":"<128>"} */
#define HASH_MEMBER ",\"hash\":\""
#define SIG_MEMBER  "\",\"sig\":\""
#define HEX_HASH    (2 * ID_HASH_LEN)
#define HEX_SIG     (2 * ID_P256_RAW_LEN)
#define TAIL_LEN    (sizeof(HASH_MEMBER) - 1 + HEX_HASH + sizeof(SIG_MEMBER) - 1 + HEX_SIG + 2)

/* "<20 digits> <hash> <sig>\n" */
#define SLOT_LEN (20 + 1 + HEX_HASH + 1 + HEX_SIG + 1)
#define SLOTS    2

struct record {
	uint64_t seq;
	uint8_t prev[ID_HASH_LEN], hash[ID_HASH_LEN], sig[ID_P256_RAW_LEN];
};

static size_t note_of(const uint8_t hash[ID_HASH_LEN], uint8_t note[sizeof(SIGN_NOTE) + ID_HASH_LEN])
{
	memcpy(note, SIGN_NOTE, sizeof(SIGN_NOTE) - 1);
	memcpy(note + sizeof(SIGN_NOTE) - 1, hash, ID_HASH_LEN);
	return sizeof(SIGN_NOTE) - 1 + ID_HASH_LEN;
}

static bool hash_sign(EVP_PKEY *key, const uint8_t hash[ID_HASH_LEN], uint8_t sig[ID_P256_RAW_LEN])
{
	uint8_t note[sizeof(SIGN_NOTE) + ID_HASH_LEN];

	return id_ecdsa_sign_raw(key, sig, note, note_of(hash, note));
}

static bool hash_verify(EVP_PKEY *key, const uint8_t hash[ID_HASH_LEN], const uint8_t sig[ID_P256_RAW_LEN])
{
	uint8_t note[sizeof(SIGN_NOTE) + ID_HASH_LEN];

	return id_ecdsa_verify_raw(key, sig, note, note_of(hash, note));
}

/* --- reading --- */

/* `n` hex digits at text, which ends in other bytes. */
static bool hex_at(uint8_t *dst, size_t n, const char *text)
{
	char hex[HEX_SIG + 1];

	memcpy(hex, text, 2 * n);
	hex[2 * n] = '\0';
	return hex_parse(dst, n, hex);
}

static bool tail_read(const char *tail, struct record *r)
{
	const char *hash = tail + sizeof(HASH_MEMBER) - 1, *sig = hash + HEX_HASH + sizeof(SIG_MEMBER) - 1;

	return memcmp(tail, HASH_MEMBER, sizeof(HASH_MEMBER) - 1) == 0 && hex_at(r->hash, ID_HASH_LEN, hash) &&
	       memcmp(hash + HEX_HASH, SIG_MEMBER, sizeof(SIG_MEMBER) - 1) == 0 &&
	       hex_at(r->sig, ID_P256_RAW_LEN, sig) && memcmp(sig + HEX_SIG, "\"}", 2) == 0;
}

/* The line without its newline. */
static bool record_read(const char *line, size_t len, struct record *r)
{
	uint8_t hash[ID_HASH_LEN];
	json_int_t seq;
	const char *prev;
	auto_json json_t *object = NULL;

	if (len <= TAIL_LEN || len > KMS_AUDIT_LINE_MAX || !tail_read(line + len - TAIL_LEN, r) ||
	    !id_hash(EVP_sha256(), hash, line, len - TAIL_LEN, NULL, 0) || memcmp(hash, r->hash, sizeof(hash)) != 0)
		return false;
	object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	seq = json_integer_value(json_object_get(object, "seq"));
	prev = json_string_value(json_object_get(object, "prev"));
	r->seq = (uint64_t)seq;
	return seq > 0 && prev && hex_parse(r->prev, ID_HASH_LEN, prev);
}

struct walk {
	EVP_PKEY *key;       /* each signature is checked; NULL: only the last one's is of interest */
	struct record head;  /* what the head says */
	const uint8_t *seen; /* a hash that somebody remembers, or NULL */
	bool has_seen;
	struct record last;
	int64_t size; /* bytes up to the end of the last record */
	bool is_torn; /* bytes behind it */
};

static int line_check(struct walk *w, const char *path, const char *line, size_t len, struct err *e)
{
	unsigned long long at = w->last.seq + 1;
	struct record r;

	if (!record_read(line, len, &r))
		return err_at(e, -EBADMSG, path, "record %llu was changed, or is none", at);
	if (r.seq != at)
		return err_at(e, -EBADMSG, path, "record %llu is missing, number %" PRIu64 " is in its place", at,
			      r.seq);
	if (memcmp(r.prev, w->last.hash, ID_HASH_LEN) != 0)
		return err_at(e, -EBADMSG, path, "record %llu does not follow the one before it", at);
	if (w->key && !hash_verify(w->key, r.hash, r.sig))
		return err_at(e, -EBADMSG, path, "record %llu is not signed by the root CA", at);
	if (r.seq == w->head.seq && memcmp(r.hash, w->head.hash, ID_HASH_LEN) != 0)
		return err_at(e, -EBADMSG, path, "record %llu is not the one that the head names", at);
	if (w->seen && memcmp(w->seen, r.hash, ID_HASH_LEN) == 0)
		w->has_seen = true;
	w->last = r;
	return 0;
}

static int log_walk(FILE *f, const char *path, struct walk *w, struct err *e)
{
	char line[KMS_AUDIT_LINE_MAX + 2];
	int ret = 0;

	while (!ret && fgets(line, sizeof(line), f)) {
		size_t len = strlen(line);

		w->is_torn = !len || line[len - 1] != '\n';
		if (w->is_torn && !feof(f))
			return err_at(e, -EBADMSG, path, "record %llu is too long or has a NUL",
				      (unsigned long long)w->last.seq + 1);
		if (w->is_torn)
			break;
		ret = line_check(w, path, line, len - 1, e);
		w->size += (int64_t)len;
	}
	if (!ret && ferror(f))
		ret = err_at(e, -EIO, path, "can not be read");
	return ret;
}

static bool slot_read(const char *slot, EVP_PKEY *key, struct record *r)
{
	char digits[21];
	char *end;

	memcpy(digits, slot, 20);
	digits[20] = '\0';
	r->seq = strtoull(digits, &end, 10);
	return !*end && slot[20] == ' ' && hex_at(r->hash, ID_HASH_LEN, slot + 21) && slot[21 + HEX_HASH] == ' ' &&
	       hex_at(r->sig, ID_P256_RAW_LEN, slot + 22 + HEX_HASH) && slot[SLOT_LEN - 1] == '\n' &&
	       hash_verify(key, r->hash, r->sig);
}

/* The later of the two slots; one may be torn by a crash. */
static int head_read(const char *path, EVP_PKEY *key, struct record *head, struct err *e)
{
	auto_free char *text = NULL;
	struct record r;
	size_t len;
	int ret = file_read(path, SLOTS * SLOT_LEN, &text, &len, e);

	if (ret < 0)
		return ret;
	head->seq = 0;
	for (size_t at = 0; at + SLOT_LEN <= len; at += SLOT_LEN)
		if (slot_read(text + at, key, &r) && r.seq > head->seq)
			*head = r;
	return head->seq ? 0 : err_at(e, -EBADMSG, path, "has no head that the root CA signed");
}

/* The log must have come at least as far as the head says, by the same way. */
static int head_check(FILE *f, const char *path, struct walk *w, struct err *e)
{
	int ret = log_walk(f, path, w, e);

	if (ret < 0)
		return ret;
	if (w->last.seq < w->head.seq)
		return err_at(e, -EBADMSG, path, "ends with record %" PRIu64 ", the head says %" PRIu64 ": it was cut",
			      w->last.seq, w->head.seq);
	return 0;
}

int kms_audit_verify(const char *log, const char *head_path, EVP_PKEY *ca, const uint8_t *seen,
		     struct kms_audit_report *report, struct err *e)
{
	auto_fclose FILE *f = fopen(log, "re");
	struct walk w = { .key = ca, .seen = seen };
	int ret;

	if (!f)
		return err_at(e, -errno, log, "%s", strerror(errno));
	ret = head_read(head_path, ca, &w.head, e);
	if (!ret)
		ret = head_check(f, log, &w, e);
	if (ret < 0)
		return ret;
	if (w.is_torn)
		return err_at(e, -EBADMSG, log, "ends in the middle of a record");
	*report = (struct kms_audit_report){ .n = w.last.seq, .has_seen = seen && w.has_seen };
	memcpy(report->hash, w.last.hash, ID_HASH_LEN);
	return 0;
}

/* --- writing --- */

static int write_at(int fd, const char *data, size_t len, int64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
		at += n;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int head_write(const struct kms_audit *audit, uint64_t seq, const uint8_t hash[ID_HASH_LEN],
		      const uint8_t sig[ID_P256_RAW_LEN])
{
	char slot[SLOT_LEN + 1], hex_hash[HEX_HASH + 1], hex_sig[HEX_SIG + 1];

	hex_print(hex_hash, hash, ID_HASH_LEN);
	hex_print(hex_sig, sig, ID_P256_RAW_LEN);
	snprintf(slot, sizeof(slot), "%020" PRIu64 " %s %s\n", seq, hex_hash, hex_sig);
	return write_at(audit->head, slot, SLOT_LEN, (int64_t)(seq % SLOTS * SLOT_LEN));
}

static int line_make(const struct kms_audit *audit, int64_t now, const char *members, uint8_t hash[ID_HASH_LEN],
		     uint8_t sig[ID_P256_RAW_LEN], char line[KMS_AUDIT_LINE_MAX + 2], struct err *e)
{
	char hex[HEX_SIG + 1];
	int n;

	hex_print(hex, audit->hash, ID_HASH_LEN);
	n = snprintf(line, KMS_AUDIT_LINE_MAX, "{\"seq\":%" PRIu64 ",\"time\":%" PRId64 ",\"prev\":\"%s\",%s",
		     audit->seq + 1, now, hex, members);
	if (n < 0 || (size_t)n + TAIL_LEN > KMS_AUDIT_LINE_MAX)
		return err_at(e, -E2BIG, LOG_FILE, "record is too long");
	if (!id_hash(EVP_sha256(), hash, line, (size_t)n, NULL, 0) || !hash_sign(audit->key, hash, sig))
		return err_at(e, -EIO, LOG_FILE, "record can not be signed");
	hex_print(hex, hash, ID_HASH_LEN);
	n += sprintf(line + n, HASH_MEMBER "%s" SIG_MEMBER, hex);
	hex_print(hex, sig, ID_P256_RAW_LEN);
	return n + sprintf(line + n, "%s\"}\n", hex);
}

int kms_audit_append(struct kms_audit *audit, int64_t now, const char *members, struct err *e)
{
	char line[KMS_AUDIT_LINE_MAX + 2];
	uint8_t hash[ID_HASH_LEN], sig[ID_P256_RAW_LEN];
	int n = line_make(audit, now, members, hash, sig, line, e), ret;

	if (n < 0)
		return n;
	ret = write_at(audit->log, line, (size_t)n, audit->size);
	if (!ret)
		ret = head_write(audit, audit->seq + 1, hash, sig);
	/* what could not be recorded is not issued; half a record would end the log for good */
	if (ret < 0 && ftruncate(audit->log, audit->size) < 0)
		return err_at(e, -EIO, LOG_FILE, "can be neither written nor put right: %s", strerror(errno));
	if (ret < 0)
		return err_at(e, ret, LOG_FILE, "can not be written: %s", strerror(-ret));
	audit->seq++;
	audit->size += n;
	memcpy(audit->hash, hash, ID_HASH_LEN);
	return 0;
}

static int open_one(const char *state, const char *name, int flags, int *fd, char path[PATH_MAX], struct err *e)
{
	if (snprintf(path, PATH_MAX, "%s/%s", state, name) >= PATH_MAX)
		return err_at(e, -ENAMETOOLONG, state, "path is too long");
	*fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
	if (*fd < 0)
		return err_at(e, -errno, path, "%s", errno == ELOOP ? "is a symbolic link" : strerror(errno));
	if (flock(*fd, LOCK_EX | LOCK_NB) < 0)
		return err_at(e, -errno, path, "is in use by another bailey-kms");
	return kms_private_fd(path, *fd, e);
}

void kms_audit_close(struct kms_audit *audit)
{
	if (audit->log >= 0)
		close(audit->log);
	if (audit->head >= 0)
		close(audit->head);
	EVP_PKEY_free(audit->key);
	*audit = (struct kms_audit){ .log = -1, .head = -1 };
}

static bool key_share(struct kms_audit *audit, EVP_PKEY *key)
{
	audit->key = key;
	return EVP_PKEY_up_ref(key) == 1;
}

int kms_audit_create(const char *state, EVP_PKEY *key, struct kms_audit *audit, struct err *e)
{
	char path[PATH_MAX];
	int ret;

	*audit = (struct kms_audit){ .log = -1, .head = -1 };
	ret = open_one(state, LOG_FILE, O_CREAT | O_EXCL, &audit->log, path, e);
	if (!ret)
		ret = open_one(state, HEAD_FILE, O_CREAT | O_EXCL, &audit->head, path, e);
	if (!ret && !key_share(audit, key))
		ret = err_at(e, -ENOMEM, path, "out of memory");
	if (ret < 0)
		kms_audit_close(audit);
	return ret;
}

/* The last signature stands for all: each record's hash is in the next. `audit verify` checks them one by one. */
static int open_check(struct kms_audit *audit, const char *log_path, const char *head_path, struct err *e)
{
	auto_fclose FILE *f = fopen(log_path, "re");
	struct walk w = { 0 };
	int ret = f ? head_read(head_path, audit->key, &w.head, e) : err_at(e, -errno, log_path, "%s", strerror(errno));

	if (!ret)
		ret = head_check(f, log_path, &w, e);
	if (ret < 0)
		return ret;
	if (!hash_verify(audit->key, w.last.hash, w.last.sig))
		return err_at(e, -EBADMSG, log_path, "last record is not signed by the root CA");
	/* a record that a crash cut short was never answered for */
	if (w.is_torn && ftruncate(audit->log, w.size) < 0)
		return err_at(e, -errno, log_path, "%s", strerror(errno));
	audit->seq = w.last.seq;
	audit->size = w.size;
	memcpy(audit->hash, w.last.hash, ID_HASH_LEN);
	return 0;
}

int kms_audit_open(const char *state, EVP_PKEY *key, struct kms_audit *audit, struct err *e)
{
	char log_path[PATH_MAX], head_path[PATH_MAX];
	int ret;

	*audit = (struct kms_audit){ .log = -1, .head = -1 };
	ret = open_one(state, LOG_FILE, 0, &audit->log, log_path, e);
	if (!ret)
		ret = open_one(state, HEAD_FILE, 0, &audit->head, head_path, e);
	if (!ret && !key_share(audit, key))
		ret = err_at(e, -ENOMEM, log_path, "out of memory");
	if (!ret)
		ret = open_check(audit, log_path, head_path, e);
	if (ret < 0)
		kms_audit_close(audit);
	return ret;
}
