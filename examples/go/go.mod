module rtstream-listen

go 1.19
