--- Pictures: rasters, curves, maps, phase planes; in a terminal as text, through gnuplot as files and windows.
--
--   local fig = plot.figure{plot.raster(spikes), plot.lines(trace), {plot.hist(rates), plot.weights(w)}}
--   print(fig)    fig:save "run.png"    fig:show()
--
-- A builder gives a Figure of one panel with axes named by the units of the data; plot.figure puts them in rows, a + b
-- into one panel.  A model hands its figure to plot.output, and `bdl run --plot FILE` says where it goes.  Panels are
-- plain data (plot/figure.lua); plot/terminal.lua and plot/gnuplot.lua draw them.
return require "bdl.lazy"("plot", {
  curves = "lines loss tuning points hist", raster = "raster", maps = "heatmap weights", phase = "phase",
  animation = "animate", figure = "Figure figure", output = "output",
})
