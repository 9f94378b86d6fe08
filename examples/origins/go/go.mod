module postern-origin-example

go 1.19
