// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <sys/socket.h>

#include "overlay/rtnl.h"

static char buf[OV_RT_BUF] __attribute__((aligned(4)));

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix p = { 0 };

	assert_true(prefix_parse(&p, text));
	return p;
}

static void addresses_and_routes_survive_the_way(void **state)
{
	static const char *const texts[] = { "100.64.0.1/24", "fd64::1/64", "192.0.2.7/32", "fd00::7/128" };
	struct ip_prefix want, got;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		want = prefix_of(texts[i]);
		assert_true(ov_addr_parse(ov_rt_put(buf, RTM_NEWADDR, 7, &want), 7, &got));
		assert_memory_equal(&got, &want, sizeof(got));
		assert_true(ov_route_parse(ov_rt_put(buf, RTM_NEWROUTE, 7, &want), 7, &got));
		assert_memory_equal(&got, &want, sizeof(got));
	}
}

static void other_links_and_other_routes_are_not_ours(void **state)
{
	struct ip_prefix want = prefix_of("100.64.0.1/32"), got;
	struct nlmsghdr *nlh;
	struct rtmsg *rtm;

	(void)state;
	assert_false(ov_addr_parse(ov_rt_put(buf, RTM_NEWADDR, 7, &want), 8, &got));
	nlh = ov_rt_put(buf, RTM_NEWROUTE, 7, &want);
	assert_false(ov_route_parse(nlh, 8, &got));
	rtm = mnl_nlmsg_get_payload(nlh);
	rtm->rtm_protocol = RTPROT_KERNEL;
	assert_false(ov_route_parse(nlh, 7, &got));
	assert_false(ov_addr_parse(nlh, 7, &got));
}

/* On a point-to-point link the kernel says both: ours is IFA_LOCAL. */
static void the_local_end_is_the_address(void **state)
{
	const uint8_t far[4] = { 10, 0, 0, 2 }, near[4] = { 10, 0, 0, 1 };
	struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
	struct ip_prefix got, want = prefix_of("10.0.0.1/32");
	struct ifaddrmsg *ifa;

	(void)state;
	nlh->nlmsg_type = RTM_NEWADDR;
	ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
	ifa->ifa_family = AF_INET;
	ifa->ifa_prefixlen = 32;
	ifa->ifa_index = 7;
	mnl_attr_put(nlh, IFA_LOCAL, 4, near);
	mnl_attr_put(nlh, IFA_ADDRESS, 4, far);
	assert_true(ov_addr_parse(nlh, 7, &got));
	assert_memory_equal(&got, &want, sizeof(got));
}

static void a_created_link_has_its_kind_and_is_down(void **state)
{
	struct ov_link link;

	(void)state;
	assert_true(ov_link_parse(ov_link_put_create(buf, "by0", "wireguard"), &link));
	assert_string_equal(link.kind, "wireguard");
	assert_false(link.is_up || link.has_gen_mode);
	assert_true(ov_link_parse(ov_link_put_quiet(buf, 7), &link));
	assert_true(link.has_gen_mode);
	assert_int_equal(link.gen_mode, 1); /* IN6_ADDR_GEN_MODE_NONE */
	assert_int_equal(link.ifindex, 7);
}

static void a_link_has_a_note_that_is_not_too_long(void **state)
{
	struct ov_link link;
	char text[OV_NOTE_LEN + 1];

	(void)state;
	assert_true(ov_link_parse(ov_link_put_alias(buf, 7, "since yesterday"), &link));
	assert_string_equal(link.alias, "since yesterday");
	memset(text, 'x', sizeof(text));
	text[OV_NOTE_LEN - 1] = '\0';
	assert_true(ov_link_parse(ov_link_put_alias(buf, 7, text), &link));
	assert_string_equal(link.alias, text);
	text[OV_NOTE_LEN - 1] = 'x', text[OV_NOTE_LEN] = '\0';
	assert_true(ov_link_parse(ov_link_put_alias(buf, 7, text), &link));
	assert_string_equal(link.alias, "");
}

static void lists_differ_by_what_is_in_one_of_them(void **state)
{
	static const char *const has[] = { "10.0.0.1/24", "10.0.0.2/24", "fe80::1/64" };
	static const char *const wants[] = { "fd64::1/64", "10.0.0.2/24", "10.0.0.1/25", "10.0.0.2/24" };
	struct ov_prefixes have = { 0 }, want = { 0 }, del = { 0 }, add = { 0 };
	struct ip_prefix p;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		p = prefix_of(has[i]);
		assert_int_equal(ov_prefixes_add(&have, &p), 0);
	}
	for (size_t i = 0; i < 4; i++) {
		p = prefix_of(wants[i]);
		assert_int_equal(ov_prefixes_add(&want, &p), 0);
	}
	assert_int_equal(ov_prefixes_diff(&have, &want, &del, &add), 0);
	assert_int_equal(del.n, 2);
	assert_int_equal(add.n, 2);
	ov_prefixes_fini(&have);
	ov_prefixes_fini(&want);
	ov_prefixes_fini(&del);
	ov_prefixes_fini(&add);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_and_routes_survive_the_way),
		cmocka_unit_test(other_links_and_other_routes_are_not_ours),
		cmocka_unit_test(the_local_end_is_the_address),
		cmocka_unit_test(a_created_link_has_its_kind_and_is_down),
		cmocka_unit_test(a_link_has_a_note_that_is_not_too_long),
		cmocka_unit_test(lists_differ_by_what_is_in_one_of_them),
	};

	return cmocka_run_group_tests_name("overlay/rtnl", tests, NULL, NULL);
}
