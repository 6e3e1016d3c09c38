// Holds what the documentation says against what the code does.
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "server/importer/conventions.h"
#include "server/importer/model_config.h"

namespace fff {
namespace {

const char* const kDocuments[] = {"README.md", "server/docs/config.md",
                                  "server/docs/networks.md",
                                  "server/docs/conventions.md"};
const char* const kConventions = "server/docs/conventions.md";

std::vector<std::string> Lines(const std::string& document) {
  std::ifstream file(absl::StrCat(FFF_SOURCE_DIR, "/", document));
  EXPECT_TRUE(file.is_open()) << document;
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The lines below the heading `title`, up to the next heading.
std::vector<std::string> Section(const std::string& document,
                                 const std::string& title) {
  std::vector<std::string> section;
  bool inside = false;
  for (const std::string& line : Lines(document)) {
    if (absl::StartsWith(line, "#")) inside = line == title;
    if (inside) section.push_back(line);
  }
  return section;
}

// The texts of the ```language blocks of a document.
std::vector<std::string> Blocks(const std::string& document,
                                const std::string& language) {
  std::vector<std::string> blocks;
  bool inside = false;
  for (const std::string& line : Lines(document)) {
    if (inside && line == "```") {
      inside = false;
    } else if (inside) {
      absl::StrAppend(&blocks.back(), line, "\n");
    } else if (line == absl::StrCat("```", language)) {
      inside = true;
      blocks.emplace_back();
    }
  }
  EXPECT_FALSE(inside) << document << ": a block does not end";
  return blocks;
}

TEST(DocsTest, EveryConfigExampleIsAValidConfig) {
  size_t examples = 0;
  for (const char* document : kDocuments) {
    for (const std::string& block : Blocks(document, "json")) {
      const auto config = importer::ParseModelConfig(block, document);
      EXPECT_TRUE(config.ok()) << config.status() << "\n" << block;
      ++examples;
    }
  }
  EXPECT_GE(examples, 9u);
}

TEST(DocsTest, EveryConventionOfTheTableIsServed) {
  size_t conventions = 0;
  for (const std::string& line : Section(kConventions, "## Served")) {
    const std::vector<std::string> cells = absl::StrSplit(line, '`');
    if (!absl::StartsWith(line, "| `")) continue;
    const auto config = importer::ParseModelConfig(
        absl::StrCat(R"({"layers": [{"type": "fff", "convention": ")",
                     cells.at(1), R"("}]})"),
        kConventions);
    EXPECT_TRUE(config.ok()) << config.status();
    ++conventions;
  }
  size_t served = 0;
  absl::string_view last;
  for (const importer::Convention& convention : importer::Conventions()) {
    if (convention.served() && convention.name != last) ++served;
    last = convention.name;
  }
  EXPECT_EQ(conventions, served);
}

}  // namespace
}  // namespace fff
