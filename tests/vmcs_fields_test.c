/* The table of VMCS fields: its order, its widths, and what the entry checks take from it. */
#include "x86/vmcs_fields.h"

#include <string.h>
#include <strings.h>

#include "check.h"
#include "x86/entry_state.h"

/* Appendix "Field Encoding in VMCS": bit 0 is the access type, 9:1 the index, 11:10 the kind. */
static void test_encodings(void)
{
    for (unsigned int i = 0; i < vmcs_field_count; i++) {
        const struct vmcs_field *field = &vmcs_fields[i];
        CHECK(i == 0 || vmcs_fields[i - 1].encoding < field->encoding);
        CHECK((field->encoding & 0x9001) == 0);
        CHECK_EQUAL(field->width, field->encoding >> 13 & 3);
        CHECK(vmcs_field_find(field->encoding) == field);
        bool is_host = (field->encoding >> 10 & 3) == 3,
             is_guest = (field->encoding >> 10 & 3) == 2;
        CHECK((field->group == VMCS_GROUP_HOST) == is_host);
        CHECK(!is_guest || strncmp(field->name, "Guest ", 6) == 0 ||
              field->group == VMCS_GROUP_GUEST_OTHER || field->group == VMCS_GROUP_PAGE_LOG);
        for (unsigned int k = 0; k < i; k++) {
            CHECK(strcmp(vmcs_fields[k].name, field->name) != 0);
        }
    }
    CHECK(vmcs_field_find(0x4828 + 4) == NULL);
    CHECK(vmcs_field_find(UINT32_MAX) == NULL);
}

static void test_titles(void)
{
    for (unsigned int group = 0; group < VMCS_GROUP_COUNT; group++) {
        unsigned int members = 0;
        for (unsigned int i = 0; i < vmcs_field_count; i++) {
            members += vmcs_fields[i].group == group;
        }
        CHECK(members != 0);
        CHECK(vmcs_group_title((enum vmcs_group)group)[0] != '\0');
    }
    CHECK(vmcs_group_title(VMCS_GROUP_COUNT)[0] == '\0');
}

/* The second half of entry_fields: what it calls a field, the appendix calls "Guest" and the same.
 */
static void test_entry_fields(void)
{
    for (unsigned int id = 1; id < ENTRY_FIELD_COUNT; id++) {
        const struct entry_field *field = &entry_fields[id];
        for (unsigned int k = 0; k < entry_instance_count(field->instances); k++) {
            if (field->encoding == 0) {
                continue;
            }
            const struct vmcs_field *found =
                vmcs_field_find(field->encoding + k * ENTRY_ENCODING_STRIDE);
            CHECK(found != NULL);
            CHECK_EQUAL(vmcs_field_bits(found), field->bits);
            const char *title = field->title;
            size_t length = strlen(title), whole = strlen(found->name);
            CHECK(field->group != ENTRY_GROUP_GUEST ||
                  (whole >= length && strcasecmp(found->name + whole - length, title) == 0));
        }
    }
}

int main(void)
{
    test_encodings();
    test_titles();
    test_entry_fields();
    return check_summary();
}
