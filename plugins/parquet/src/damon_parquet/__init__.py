"""Records in Apache Parquet, written row group by row group.

Nothing is imported here: pyarrow takes its time, and only those who read or write need it. Import
`damon_parquet.reader`, `damon_parquet.writer` or `damon_parquet.callback`.
"""
