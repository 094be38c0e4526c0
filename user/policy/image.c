// SPDX-License-Identifier: Apache-2.0
#include "image.h"

#include <errno.h>
#include <string.h>

#include "bailey/abi.h"

#define IMAGE_CLASSES_MAX (1u << 21) /* kinds, or networks: no policy has more */

static uint64_t padded(uint64_t n)
{
	return (n + 7) & ~(uint64_t)7;
}

/* Where each array starts, and the whole. The counts are 32 bits and the elements small: no sum overflows. */
static uint64_t ports_at(const struct pol_image *img)
{
	(void)img;
	return padded(sizeof(struct pol_image));
}

static uint64_t verdicts_at(const struct pol_image *img)
{
	return padded(ports_at(img) + (uint64_t)img->n_ports * sizeof(struct pol_port_range));
}

static uint64_t rules_at(const struct pol_image *img)
{
	return padded(verdicts_at(img) + (uint64_t)img->n_verdicts * sizeof(struct pol_verdict));
}

static uint64_t members_at(const struct pol_image *img)
{
	return padded(rules_at(img) + (uint64_t)img->n_rules * sizeof(struct by_rule));
}

static uint64_t kinds_at(const struct pol_image *img)
{
	return padded(members_at(img) + (uint64_t)img->n_members * sizeof(struct pol_member));
}

static uint64_t nets_at(const struct pol_image *img)
{
	return padded(kinds_at(img) + (uint64_t)img->n_kinds * sizeof(struct pol_kind_class));
}

uint64_t pol_image_size(const struct pol_image *head)
{
	return padded(nets_at(head) + (uint64_t)head->n_nets * sizeof(struct pol_net));
}

static const void *at(const struct pol_image *img, uint64_t offset)
{
	return (const char *)img + offset;
}

const struct pol_port_range *pol_image_ports(const struct pol_image *img)
{
	return at(img, ports_at(img));
}

const struct pol_verdict *pol_image_verdicts(const struct pol_image *img)
{
	return at(img, verdicts_at(img));
}

const struct by_rule *pol_image_rules(const struct pol_image *img)
{
	return at(img, rules_at(img));
}

const struct pol_member *pol_image_members(const struct pol_image *img)
{
	return at(img, members_at(img));
}

const struct pol_kind_class *pol_image_kinds(const struct pol_image *img)
{
	return at(img, kinds_at(img));
}

const struct pol_net *pol_image_nets(const struct pol_image *img)
{
	return at(img, nets_at(img));
}

/* --- the proof --------------------------------------------------------------------------------------------- */

static int bad(struct err *e, const char *what, size_t i)
{
	return err_at(e, -EBADMSG, "policy image", "%s %zu is not what a compiler writes", what, i);
}

static int check_header(const struct pol_image *img, size_t len, struct err *e)
{
	const struct {
		const char *what;
		uint32_t n, max;
	} counts[] = {
		{ "port ranges", img->n_ports, BY_PORT_SPACE },
		{ "verdicts", img->n_verdicts, BY_MAX_VERDICTS / BY_SLOTS },
		{ "rules", img->n_rules, BY_MAX_RULES / BY_SLOTS },
		{ "members", img->n_members, BY_MAX_IDENTITIES },
		{ "kinds", img->n_kinds, IMAGE_CLASSES_MAX },
		{ "networks", img->n_nets, IMAGE_CLASSES_MAX },
		{ "openings", img->n_openings, img->n_rules },
		{ "peer classes", img->n_peer_classes, IMAGE_CLASSES_MAX },
		{ "port classes", img->n_port_classes, UINT16_MAX },
	};

	if (img->magic != POL_IMAGE_MAGIC)
		return err_at(e, -EBADMSG, "policy image", "does not start like one");
	if (img->abi != BY_ABI_VERSION)
		return err_at(e, -EBADMSG, "policy image", "is of ABI version %u, needed %d", img->abi, BY_ABI_VERSION);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (counts[i].n > counts[i].max)
			return err_at(e, -EBADMSG, "policy image", "%u %s, the limit is %u", counts[i].n,
				      counts[i].what, counts[i].max);
	if (img->size != len || pol_image_size(img) != len)
		return err_at(e, -EBADMSG, "policy image", "is %zu bytes long, its header needs %llu", len,
			      (unsigned long long)pol_image_size(img));
	if (img->other_class > img->n_peer_classes)
		return bad(e, "class of other kinds", img->other_class);
	return 0;
}

static int check_ports(const struct pol_image *img, struct err *e)
{
	const struct pol_port_range *range = pol_image_ports(img);
	uint32_t next = 0;

	for (size_t i = 0; i < img->n_ports; i++) {
		const uint16_t *class = range[i].port.port_class;

		if (range[i].first < next || range[i].last < range[i].first || range[i].last >= BY_PORT_SPACE ||
			    class[BY_DIR_IN] > img -> n_port_classes || class[BY_DIR_OUT] > img -> n_port_classes)
			return bad(e, "port range", i);
		next = range[i].last + 1;
	}
	return 0;
}

static int verdict_order(const struct pol_verdict *a, uint8_t dir, uint32_t peer_class, uint16_t port_class)
{
	if (a->dir != dir)
		return a->dir < dir ? -1 : 1;
	if (a->peer_class != peer_class)
		return a->peer_class < peer_class ? -1 : 1;
	return (a->port_class > port_class) - (a->port_class < port_class);
}

static int check_verdicts(const struct pol_image *img, struct err *e)
{
	const struct pol_verdict *v = pol_image_verdicts(img);

	for (size_t i = 0; i < img->n_verdicts; i++) {
		if (v[i].dir >= BY_DIR_COUNT || v[i].pad || !v[i].port_class || !v[i].peer_class ||
		    v[i].port_class > img->n_port_classes || v[i].peer_class > img->n_peer_classes ||
		    v[i].verdict.rule > img->n_rules || v[i].verdict.audit > img->n_rules ||
		    (!v[i].verdict.rule && !v[i].verdict.audit) || (v[i].verdict.flags & ~BY_RULE_FLAGS) ||
		    v[i].verdict.pad[0] || v[i].verdict.pad[1] ||
		    (v[i].verdict.action != BY_ALLOW && v[i].verdict.action != BY_DENY))
			return bad(e, "verdict", i);
		if (i && verdict_order(&v[i - 1], v[i].dir, v[i].peer_class, v[i].port_class) >= 0)
			return bad(e, "order of verdict", i);
	}
	return 0;
}

/* Printable to the NUL, then zeros: bytes nobody looks at must not carry anything. */
static bool is_text(const char *text, size_t size)
{
	size_t len = strnlen(text, size);

	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	for (size_t i = len; i < size; i++)
		if (text[i])
			return false;
	return len && len < size;
}

static int check_rules(const struct pol_image *img, struct err *e)
{
	const struct by_rule *rule = pol_image_rules(img);

	for (size_t i = 0; i < img->n_rules; i++)
		if (!is_text(rule[i].name, sizeof(rule[i].name)) || !is_text(rule[i].where, sizeof(rule[i].where)) ||
		    (rule[i].flags & ~BY_RULE_FLAGS) || rule[i].pad || !rule[i].rate != !rule[i].burst)
			return bad(e, "rule", i);
	return 0;
}

static int check_peers(const struct pol_image *img, struct err *e)
{
	const struct pol_member *m = pol_image_members(img);
	const struct pol_kind_class *k = pol_image_kinds(img);

	for (size_t i = 0; i < img->n_members; i++)
		if (!m[i].peer_class || m[i].peer_class > img->n_peer_classes ||
		    (i && memcmp(m[i - 1].instance_id, m[i].instance_id, BY_INSTANCE_ID_LEN) >= 0))
			return bad(e, "member", i);
	for (size_t i = 0; i < img->n_kinds; i++)
		if (!k[i].peer_class || k[i].peer_class > img->n_peer_classes || (i && k[i - 1].kind >= k[i].kind))
			return bad(e, "kind", i);
	return 0;
}

static const uint8_t v4_mapped[16] = { [10] = 0xff, [11] = 0xff };

static bool has_spare_bits(const struct pol_net *net)
{
	unsigned byte = net->bits / 8;

	if (byte < 16 && net->addr.b[byte] & (0xffu >> net->bits % 8))
		return true;
	while (++byte < 16)
		if (net->addr.b[byte])
			return true;
	return false;
}

static int net_order(const struct pol_net *a, const struct pol_net *b)
{
	int order = memcmp(&a->addr, &b->addr, sizeof(a->addr));

	return order ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

static int check_nets(const struct pol_image *img, struct err *e)
{
	const struct pol_net *n = pol_image_nets(img);
	bool has_v4 = !img->n_nets;

	for (size_t i = 0; i < img->n_nets; i++) {
		if (n[i].bits > 128 || n[i].pad[0] || n[i].pad[1] || n[i].pad[2] || !n[i].peer_class ||
		    n[i].peer_class > img->n_peer_classes || has_spare_bits(&n[i]) ||
		    (i && net_order(&n[i - 1], &n[i]) >= 0))
			return bad(e, "network", i);
		has_v4 |= n[i].bits == 96 && memcmp(n[i].addr.b, v4_mapped, sizeof(v4_mapped)) == 0;
	}
	if (!has_v4 || (img->n_nets && n[0].bits))
		return err_at(e, -EBADMSG, "policy image", "has no class for addresses of one family");
	if (img->n_nets && (img->n_members || img->n_kinds || img->other_class))
		return err_at(e, -EBADMSG, "policy image", "is for the overlay and the underlay at once");
	return 0;
}

int pol_image_check(const void *bytes, size_t len, struct err *e)
{
	const struct pol_image *img = bytes;
	int ret;

	if (len < sizeof(*img))
		return err_at(e, -EBADMSG, "policy image", "is %zu bytes long, its header alone has %zu", len,
			      sizeof(*img));
	if ((uintptr_t)bytes % _Alignof(struct pol_image))
		return err_at(e, -EINVAL, "policy image", "is not aligned in memory");
	ret = check_header(img, len, e);
	if (!ret)
		ret = check_ports(img, e);
	if (!ret)
		ret = check_verdicts(img, e);
	if (!ret)
		ret = check_rules(img, e);
	if (!ret)
		ret = check_peers(img, e);
	if (!ret)
		ret = check_nets(img, e);
	return ret;
}

/* --- the lookup -------------------------------------------------------------------------------------------- */

static uint16_t port_class(const struct pol_image *img, enum by_dir dir, uint32_t selector)
{
	const struct pol_port_range *range = pol_image_ports(img);
	size_t low = 0, high = img->n_ports;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (range[mid].last < selector)
			low = mid + 1;
		else
			high = mid;
	}
	return low < img->n_ports && range[low].first <= selector ? range[low].port.port_class[dir] : 0;
}

struct by_verdict pol_image_lookup(const struct pol_image *img, enum by_dir dir, uint32_t peer_class, uint32_t selector)
{
	const struct pol_verdict *v = pol_image_verdicts(img);
	uint16_t class = port_class(img, dir, selector);
	size_t low = 0, high = img->n_verdicts;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = verdict_order(&v[mid], (uint8_t)dir, peer_class, class);

		if (order == 0)
			return v[mid].verdict;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return (struct by_verdict){ .rule = 0, .action = BY_DENY };
}

static unsigned common_bits(const struct by_addr *a, const struct by_addr *b)
{
	unsigned i = 0;

	while (i < 16 && a->b[i] == b->b[i])
		i++;
	return i == 16 ? 128 : 8 * i + (unsigned)__builtin_clz((unsigned)(a->b[i] ^ b->b[i])) - 24;
}

uint32_t pol_image_net_lookup(const struct pol_image *img, const struct by_addr *addr)
{
	const struct pol_net *net = pol_image_nets(img), *best = NULL;

	for (size_t i = 0; i < img->n_nets; i++)
		if (common_bits(&net[i].addr, addr) >= net[i].bits && (!best || best->bits <= net[i].bits))
			best = &net[i];
	return best ? best->peer_class : 0;
}
