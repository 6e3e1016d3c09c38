#include "client/cli/formats/csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace fff::cli {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

CsvTable Table(const std::string& text, const CsvForm& form = {}) {
  const auto table = ParseCsv(text, form);
  EXPECT_TRUE(table.ok()) << text << ": " << table.status();
  return table.value_or(CsvTable());
}

std::vector<double> Values(const std::string& text) {
  return Table(text).values;
}

std::string ErrorOf(const std::string& text, const CsvForm& form = {}) {
  const auto table = ParseCsv(text, form);
  EXPECT_EQ(table.status().code(), kInvalid) << text;
  return std::string(table.status().message());
}

TEST(CsvTest, ReadsRowsOfNumbers) {
  const CsvTable table = Table("1,2.5\r\n-3e2, 4\n\n");
  EXPECT_THAT(table.widths, ElementsAre(2, 2));
  EXPECT_THAT(table.values, ElementsAre(1, 2.5, -300, 4));
}

TEST(CsvTest, EveryDelimiterGivesTheSameRows) {
  for (const char* text :
       {"1,2.5\n-3,4\n", "1\t2.5\n-3\t4\n", "1;2.5\n-3;4", "1 2.5\n-3 4\n",
        "  1   2.5 \n -3\t4\n", "1;2,5\n-3;4\n", "1\t2,5\n-3\t4\n",
        "\"1\",\"2.5\"\n\"-3\",\"4\"\n", "\"1\";\"2,5\"\n\" -3 \" ; 4\n",
        "\"1\" 2.5\n-3 \"4\"\n", "1, 2.5\n-3, 4\n"}) {
    const std::string with_mark = std::string("\xEF\xBB\xBF") + text;
    EXPECT_THAT(Values(text), ElementsAre(1, 2.5, -3, 4)) << text;
    EXPECT_THAT(Values(with_mark), ElementsAre(1, 2.5, -3, 4)) << text;
  }
}

TEST(CsvTest, EveryLineEndIsOne) {
  for (const char* text : {"1,2\n3,4", "1,2\r\n3,4\r\n", "1,2\r3,4\r",
                           "1,2\n\n\r\n3,4\n \n", "\n1,2\n3,4"}) {
    EXPECT_THAT(Table(text).widths, ElementsAre(2, 2)) << text;
  }
  EXPECT_THAT(ErrorOf("1,2\r\n3,x\r\n"), HasSubstr("line 2, column 2"));
  EXPECT_THAT(ErrorOf("1,2\r3,x\r"), HasSubstr("line 2, column 2"));
}

TEST(CsvTest, CommentsArePassedOver) {
  EXPECT_THAT(Values("# x y \"z\n1.5 2\n  # end\n"), ElementsAre(1.5, 2));
  EXPECT_THAT(ErrorOf("1,2 # note\n"), HasSubstr("got '2 # note'"));
}

TEST(CsvTest, ColumnTitlesAreSkippedOnTheFirstLineOnly) {
  EXPECT_EQ(Table("height,width\n1,2\n").rows(), 1);
  EXPECT_EQ(Table("feature 1,feature 2\n1,2\n").rows(), 1);
  EXPECT_EQ(Table("\"a, b\";\"c\nd\"\n1;2\n").rows(), 1);
  EXPECT_EQ(Table("Länge\tBreite\n1\t2\n").rows(), 1);
  EXPECT_EQ(Table("x y\n1 2\n").rows(), 1);
  EXPECT_EQ(Table("label,1x1\n1,2\n").rows(), 1);
  EXPECT_THAT(ErrorOf("a,b\nc,d\n"), HasSubstr("line 2, column 1: got 'c'"));
  EXPECT_THAT(ErrorOf("a,b\n"), HasSubstr("no row of numbers"));
}

TEST(CsvTest, AFirstLineOfSignsOrMissingValuesIsNoTitle) {
  for (const char* text :
       {"NA,NA\n1,2\n", "True,False\n1,2\n", ",\n1,2\n", "1|2\n3|4\n",
        "1.2.3,$4\n1,2\n", "nan,inf\n1,2\n", "5 kg;1,5e3\n1;2\n"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("CSV line 1")) << text;
  }
}

TEST(CsvTest, AnIndexColumnIsNamedAndNeverGuessed) {
  for (const char* text :
       {",a,b\n0,1,2\n", "\"\",\"a\"\n\"1\",2\n", "Unnamed: 0,a\n0,1\n",
        "a,b\n0,1,2\n", "a b\nr1 1 2\n", ",0,1\n0,1.5,2.5\n"}) {
    EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("looks like an index"),
                                     HasSubstr("index=False")))
        << text;
  }
}

TEST(CsvTest, TitlesThatCountMayBeARowAndAreRefused) {
  EXPECT_THAT(
      ErrorOf("0,1,2\n0.5,1.5,2e3\n"),
      AllOf(HasSubstr("line 1: got 0, 1, 2"), HasSubstr("header=False")));
  EXPECT_THAT(ErrorOf("0,1,2\n3,4,5\n"), HasSubstr("write 0.0, 1.0"));
  EXPECT_EQ(Table("0,1,2\n").rows(), 1);
  EXPECT_EQ(Table("a,b,c\n0,1,2\n3,4,5\n").rows(), 2);
  EXPECT_EQ(Table("1,2,3\n4,5,6\n").rows(), 2);
  EXPECT_EQ(Table("0.0,1.0\n0.5,1.5\n").rows(), 2);
}

TEST(CsvTest, MoreTitlesThanCellsAreRefused) {
  EXPECT_THAT(ErrorOf("a,b,c,d\n1,2,3\n"),
              HasSubstr("line 2: got 3 cells below 4 titles"));
}

TEST(CsvTest, SeparatorsAtTheEndOfLinesAreDropped) {
  EXPECT_THAT(Table("1,2,\n3,4,\n").widths, ElementsAre(2, 2));
  EXPECT_THAT(Table("a;b;\n1,5;2;\n").widths, ElementsAre(2));
  EXPECT_THAT(Table("a;b\n1,5;2;\n").widths, ElementsAre(2));
  EXPECT_THAT(Table("1,2,,,\n3,4,,,\n").widths, ElementsAre(2, 2));
  EXPECT_THAT(Table("a,b,,\n1,2,,\n").widths, ElementsAre(2));
  EXPECT_THAT(ErrorOf("1,,\n1,2,3\n"), HasSubstr("got 3 cells, wanted 1"));
  EXPECT_THAT(ErrorOf("a,b,c\n1,,\n"),
              HasSubstr("line 2, column 2: got an empty cell"));
  EXPECT_THAT(ErrorOf("a,b,c\n1,2,\n"),
              HasSubstr("line 2, column 3: got an empty cell"));
  EXPECT_THAT(ErrorOf("1,2,3\n1,2,\n"),
              HasSubstr("line 2, column 3: got an empty cell"));
  EXPECT_THAT(ErrorOf("1,2,\n1,2,3\n"), HasSubstr("got 3 cells, wanted 2"));
}

TEST(CsvTest, ExcelsFirstLineNamesTheSeparator) {
  EXPECT_THAT(Values("sep=;\n1,5;2\n"), ElementsAre(1.5, 2));
  EXPECT_THAT(Values("\xEF\xBB\xBFsep=,\r\n1,2\r\n"), ElementsAre(1, 2));
  EXPECT_THAT(ErrorOf("sep=|\n1|2\n"), HasSubstr("line 2"));
}

TEST(CsvTest, CommasThatMayBeEitherAreRefused) {
  EXPECT_THAT(Values("1,234;0,5\n"), ElementsAre(1.234, 0.5));
  EXPECT_THAT(Values("-0,125;12,5e3\n"), ElementsAre(-0.125, 12500));
  EXPECT_THAT(ErrorOf("1,234;5\n"),
              AllOf(HasSubstr("line 1, column 1"), HasSubstr("thousands")));
  EXPECT_THAT(ErrorOf("5;6\n7;-12,345\n"), HasSubstr("line 2, column 2"));
  EXPECT_THAT(ErrorOf("1,5;2.5\n"), HasSubstr("a point"));
  EXPECT_THAT(ErrorOf("1.234,5;2\n"), HasSubstr("got '1.234,5'"));
  EXPECT_THAT(ErrorOf("1,234,567;2\n"), HasSubstr("got '1,234,567'"));
  EXPECT_THAT(ErrorOf("\"1,5\",\"2,5\"\n"), HasSubstr("got '1,5'"));
  EXPECT_THAT(ErrorOf("1,5 2,5\n"), HasSubstr("got '5 2'"));
  EXPECT_THAT(ErrorOf("x\n1,5\n2,5\n"), HasSubstr("decimal commas"));
}

TEST(CsvTest, LinesOfOtherDelimitersAreErrors) {
  EXPECT_THAT(ErrorOf("1,2\n3;4\n"), HasSubstr("got 1 cells, wanted 2"));
  EXPECT_THAT(ErrorOf("1;2\n3,4\n"), HasSubstr("got 1 cells, wanted 2"));
  EXPECT_THAT(ErrorOf("1\t2\n3 4\n"), HasSubstr("got 1 cells, wanted 2"));
  EXPECT_THAT(ErrorOf("1\t2;3\n"), HasSubstr("got tabs and semicolons"));
}

TEST(CsvTest, CellThatIsNoNumberNamesLineAndColumn) {
  EXPECT_THAT(ErrorOf("1,2\n3,x\x1b\n"),
              AllOf(HasSubstr("line 2, column 2"), HasSubstr("x\\x1b")));
  EXPECT_THAT(ErrorOf("1,,3\n"),
              HasSubstr("line 1, column 2: got an empty cell"));
  EXPECT_THAT(ErrorOf("1,\"\",3\n"), HasSubstr("column 2: got an empty cell"));
  EXPECT_THAT(ErrorOf("1\t\t3\n"), HasSubstr("column 2: got an empty cell"));
  for (const char* word : {"NA", "null", "<NA>", "N/A"}) {
    EXPECT_THAT(ErrorOf(std::string("1,2\n3,") + word + "\n"),
                AllOf(HasSubstr("line 2, column 2"), HasSubstr(word),
                      HasSubstr("a missing value")));
  }
}

TEST(CsvTest, QuotesThatNothingClosesAreAnError) {
  EXPECT_THAT(ErrorOf("1,2\n3,\"4\n5,6\n"),
              HasSubstr("line 2: got a quote (\") that nothing closes"));
  EXPECT_THAT(ErrorOf("1,\"2\"3\n"), HasSubstr("got '\"2\"3'"));
  EXPECT_THAT(ErrorOf("1,\"2\"\"3\"\n"), HasSubstr("column 2"));
}

TEST(CsvTest, RaggedRowsAreAnError) {
  EXPECT_THAT(ErrorOf("1,2\n3\n"),
              HasSubstr("got 1 cells, wanted 2 as in the first row"));
}

TEST(CsvTest, RowsOfAnyWidthKeepTheirWidths) {
  CsvForm ragged;
  ragged.rows_may_differ = true;
  const CsvTable table = Table("1,2\n3\n4,5,6\n", ragged);
  EXPECT_THAT(table.widths, ElementsAre(2, 1, 3));
  EXPECT_THAT(table.values, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(Table("3\n4;5,5\n", ragged).widths, ElementsAre(1, 2));
  EXPECT_THAT(Table("1,,\n2,3,4\n", ragged).widths, ElementsAre(1, 3));
  EXPECT_THAT(ErrorOf("1,,2\n", ragged), HasSubstr("an empty cell"));
}

TEST(CsvTest, InfinityNanAndWhatIsBeyondFp32AreRefused) {
  EXPECT_THAT(ErrorOf("1,inf\n"), HasSubstr("a finite number"));
  EXPECT_THAT(ErrorOf("nan\n"), HasSubstr("a finite number"));
  EXPECT_THAT(ErrorOf("1e999\n"), HasSubstr("a finite number"));
  EXPECT_THAT(ErrorOf("1,-3.5e38\n"), HasSubstr("within FP32"));
  EXPECT_THAT(Values("3.4028234e38\n"), ElementsAre(3.4028234e38));
}

TEST(CsvTest, IntegersKeepEveryDigit) {
  CsvForm integers;
  integers.integers = true;
  EXPECT_THAT(Table("9223372036854775807;-9223372036854775808;2,0\n", integers)
                  .integers,
              ElementsAre(INT64_MAX, INT64_MIN, 2));
  EXPECT_THAT(Table("9007199254740993,2e3,\"7\"\n", integers).integers,
              ElementsAre(9007199254740993, 2000, 7));
  EXPECT_THAT(ErrorOf("9223372036854775808\n", integers),
              HasSubstr("line 1, column 1"));
  EXPECT_THAT(ErrorOf("1,0.5\n", integers),
              HasSubstr("column 2: got 0.5, wanted whole numbers"));
}

TEST(CsvTest, WhatIsNoTextSaysSo) {
  EXPECT_THAT(ErrorOf(std::string("\xFF\xFE\x31\0", 4)),
              HasSubstr("UTF-16, wanted UTF-8"));
  EXPECT_THAT(ErrorOf(std::string("1\0,\0", 4)), HasSubstr("no text"));
  EXPECT_THAT(ErrorOf("\x7F"
                      "ELF\x02\x01"),
              HasSubstr("no text"));
}

TEST(CsvTest, NothingToReadIsAnError) {
  ErrorOf("");
  ErrorOf("\n \n");
  ErrorOf("# only a comment");
}

}  // namespace
}  // namespace fff::cli
