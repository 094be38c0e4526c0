// SPDX-License-Identifier: Apache-2.0
#include "ctmap.h"

#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#include "bailey/flow.h"
#include "world.h"

static bool is_ip4(const struct by_ct_key *key)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(key->local.b, mapped, sizeof(mapped)) == 0;
}

bool ct_map_only(struct ct_map m, struct by_ct_key *key, struct by_ct *ct)
{
	bool has4, has6 = bpf_map_get_next_key(m.fd6, NULL, key) == 0;
	struct by_ct4_key key4;

	has4 = bpf_map_get_next_key(m.fd4, NULL, &key4) == 0;
	if (!has4 && !has6)
		return false;
	assert_false(has4 && has6);
	assert_int_equal(bpf_map_lookup_elem(has4 ? m.fd4 : m.fd6, has4 ? (void *)&key4 : key, ct), 0);
	if (has4)
		*key = by_ct_key_of4(&key4);
	assert_int_not_equal(has4 ? bpf_map_get_next_key(m.fd4, &key4, &key4) : bpf_map_get_next_key(m.fd6, key, key),
			     0);
	return true;
}

int ct_map_put(struct ct_map m, const struct by_ct_key *key, const struct by_ct *ct)
{
	struct by_ct4_key key4 = by_ct4_key(key);

	return is_ip4(key) ? bpf_map_update_elem(m.fd4, &key4, ct, BPF_EXIST)
			   : bpf_map_update_elem(m.fd6, key, ct, BPF_EXIST);
}

bool ct_map_take(struct ct_map m, const struct by_ct_key *key, struct by_ct *ct)
{
	struct by_ct4_key key4 = by_ct4_key(key);

	return is_ip4(key) ? bpf_map_lookup_and_delete_elem(m.fd4, &key4, ct) == 0
			   : bpf_map_lookup_and_delete_elem(m.fd6, key, ct) == 0;
}

void ct_map_close(struct ct_map m)
{
	close(m.fd4);
	close(m.fd6);
}
